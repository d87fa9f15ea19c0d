"""EQL v2 as published (Tan et al., 2021, arXiv 2012.08548): the loss alone, judged on long lists of faint detections.

Scores are products of two sigmoids and low, so 300 detections an image from 0.0001 on are kept, as the LVIS configs of
its code have it. Images are drawn uniformly: repeat factors are its rival, not its part.
Missing here: the mask head, which trains the same features; pictures of 640 to 800 pixels drawn at random; 12 epochs on
LVIS v1, in whose first thousand iterations the weights hardly move.
Published: LVIS v1, Mask R-CNN R50 1x: AP 16.1 to 23.7.
"""

baseline = "baselines/faster_rcnn_shapes"
remedies = ["eql_v2"]


def apply(cfg):
    cfg.model.score_threshold, cfg.model.max_detections = 1e-4, 300
