"""Dynamic smooth L1: beta begins at 1 and shrinks with the errors of the proposals.

Expect better AP at high IoU. Published with dynamic label assignment: Faster R-CNN R50 +1.5 AP.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_regression.dynamic_smooth_l1 import DynamicSmoothL1

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).regression = L(DynamicSmoothL1)(initial=1.0, topk=10, interval=100)
