"""SIoU loss: the overlap, a distance that knows the direction, and the sides.

Published for one-stage detectors of the YOLO family only.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_regression.siou_loss import SIoULoss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion, two_stage = criterion_of(cfg), "roi_heads" in cfg.model
    criterion.regression = L(SIoULoss)(theta=4.0)
    # one value of the box in place of four errors; none is published, so what IoU (RoI heads) and GIoU (dense) have
    criterion.regression_weight = 10.0 if two_stage else 2.0
