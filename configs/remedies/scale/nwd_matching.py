"""NWD matching: the thresholds of the matcher, on the distance of boxes as Gaussians instead of their IoU.

Expect more regions for tiny objects and fewer for large ones. Published in the RPN (`--remedy nwd_matching@rpn`)
on AI-TOD, with 6 AP more.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of, rebuilt
from imbdet.data.statistics import mean_input_size
from imbdet.remedies.scale.nwd_matching import NWDMatching

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    size = L(mean_input_size)(records="${data.train}", resize="${dataloader.val.resize}")
    criterion.matcher = rebuilt(criterion.matcher, NWDMatching, size=size)
