"""Bounded IoU loss: each coordinate by an IoU of its own.

Published on Faster R-CNN R50-FPN: AP 37.4, as L1 (mmdetection, one run).
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_regression.bounded_iou_loss import BoundedIoULoss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion, two_stage = criterion_of(cfg), "roi_heads" in cfg.model
    criterion.regression = L(BoundedIoULoss)(beta=0.2)
    # one value of the box in place of four errors: mmdetection's on RoI heads, and with GIoU on dense ones
    criterion.regression_weight = 10.0 if two_stage else 2.0
