"""Where `Records` come from.

COCO JSON (`coco` for a file, `folder` for a folder of any layout), Pascal VOC (`voc`), YOLO (`yolo`), and the synthetic
`shapes`.
"""
