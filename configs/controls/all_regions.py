"""Control: the RoI head learns from all proposals, none drawn and none mined.

Its losses are divided by the foreground regions, as with hard negative mining.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.modeling.defaults import AllRegions, Foreground

baseline = "baselines/faster_rcnn_shapes"
control = True


def apply(cfg):
    criterion = criterion_of(cfg)
    criterion.region_sampler = L(AllRegions)()
    criterion.normalizer = L(Foreground)()
