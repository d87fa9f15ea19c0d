"""Online hard example mining: all proposals are scored, and the 64 an image with the highest loss are learned from.

Expect fewer false alarms on background that looks like an object. All proposals pass the head forward and backward, so
the step takes longer; with noisy labels the hardest regions are the wrongly labeled ones.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.modeling.defaults import AllRegions, PerImage
from imbdet.remedies.class_fg_bg.ohem import OHEM

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    criterion.region_sampler = L(AllRegions)()
    criterion.normalizer = L(PerImage)(count="${..weighting.per_image}")
    criterion.weighting = L(OHEM)(per_image=64, nms_threshold=0.7, candidates=1000)
