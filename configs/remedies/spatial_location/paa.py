"""Probabilistic anchor assignment: an object is learned by the regions whose loss is low for it, as a mixture tells.

Expect an assignment that follows what the detector has learned so far. Published with a predicted IoU on ATSS R50:
40.4; in the RPN of Faster R-CNN R50 (`--remedy paa@rpn`): 38.0 to 39.3.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_location.paa import PAA

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion_of(cfg).matcher = L(PAA)(foreground=0.1, background=0.1, best_for_each_object=True, topk=9, steps=20)
