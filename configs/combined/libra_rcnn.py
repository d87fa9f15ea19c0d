"""Libra R-CNN (Pang et al., 2019, arXiv 1904.02701) as the list of its parts.

Published: +2.5 AP on Faster R-CNN R50-FPN 1x in the authors' code, +0.9 on mmdetection's baseline.
"""

baseline = "baselines/faster_rcnn_shapes"
remedies = ["iou_balanced_sampling", "instance_balanced_sampling", "balanced_feature_pyramid", "balanced_l1_loss"]
