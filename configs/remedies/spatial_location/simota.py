"""SimOTA: each object takes its cheapest regions, by class and IoU, and as many as its best boxes' IoUs sum to.

Expect more regions for objects that are predicted well. Published as a part of YOLOX, which has no anchors.
"""

from imbdet.config import criterion_of, rebuilt
from imbdet.remedies.spatial_location.simota import SimOTA

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    criterion.matcher = rebuilt(criterion.matcher, SimOTA, candidates=10, radius=2.5, weight=3.0)
