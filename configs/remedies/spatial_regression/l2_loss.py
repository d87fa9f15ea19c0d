"""L2 loss on deltas: outliers have nearly all of the gradient. It shows the imbalance; do not expect it to help.

The parabola is that of smooth L1, continued for outliers.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_regression.l2_loss import L2Loss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion, two_stage = criterion_of(cfg), "roi_heads" in cfg.model
    criterion.regression = L(L2Loss)()
    # none is published; the parabola of smooth L1 at beta 1, at 0.1 for anchors, whose deltas have no factor of 10
    criterion.regression_weight = 1.0 if two_stage else 10.0
