"""Hard negative mining as in SSD: three of the worst background regions for each foreground region, the rest left out.

Both losses are divided by the foreground regions. On RoI heads all proposals are scored instead of a random sample, so
that there is something to mine: the step takes longer.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.modeling.defaults import AllRegions, Foreground
from imbdet.remedies.class_fg_bg.hard_negative_mining import HardNegativeMining

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    criterion.region_sampler = L(AllRegions)()
    criterion.normalizer = L(Foreground)()
    criterion.weighting = L(HardNegativeMining)(ratio=3.0, minimum=3)
