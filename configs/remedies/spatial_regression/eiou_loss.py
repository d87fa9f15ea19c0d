"""EIoU loss (Efficient IoU): the overlap, the distance of the centers and each side for itself.

Expect what CIoU gives, with sides that settle sooner; gamma=0.5 (Focal-EIoU) leaves poor boxes behind.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_regression.eiou_loss import EIoULoss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion, two_stage = criterion_of(cfg), "roi_heads" in cfg.model
    criterion.regression = L(EIoULoss)(gamma=0.0)
    # one value of the box in place of four errors; none is published, so what IoU (RoI heads) and GIoU (dense) have
    criterion.regression_weight = 10.0 if two_stage else 2.0
