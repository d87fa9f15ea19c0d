"""CIoU loss: the overlap, the distance of the centers and the aspect ratio.

Expect what DIoU gives, and truer shapes of boxes that overlap well; mmdetection's zoo has no number of it.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_regression.ciou_loss import CIoULoss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion, two_stage = criterion_of(cfg), "roi_heads" in cfg.model
    criterion.regression = L(CIoULoss)(gate=0.0)
    # one value of the box in place of four errors: the authors' on RoI heads, and mmdetection's with GIoU on dense ones
    criterion.regression_weight = 12.0 if two_stage else 2.0
