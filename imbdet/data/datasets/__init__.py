"""Where `Records` come from: COCO JSON (`coco`, `folder`), Pascal VOC (`voc`), YOLO (`yolo`), and the synthetic `shapes`."""
