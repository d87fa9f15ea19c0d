"""Task-aligned assignment: the 13 regions of each object that score and fit it best learn it.

Expect boxes and scores that agree better. Published as a part of TOOD, with a head of its own.
"""

from imbdet.config import criterion_of, rebuilt
from imbdet.remedies.spatial_location.tal import TAL

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    criterion.matcher = rebuilt(criterion.matcher, TAL, topk=13, alpha=1.0, beta=6.0)
