"""Valid ranges: the twentieth of the smallest objects at the network's input and that of the largest teach nothing.

Expect a gain only with a multi-scale `augment`, in which they come into the range at another scale; alone it is the
control that trains on less.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of, rebuilt
from imbdet.data.statistics import input_size_range
from imbdet.remedies.scale.snip_valid_ranges import SNIPValidRanges, valid_range

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    limits = L(input_size_range)(records="${data.train}", resize="${dataloader.val.resize}", share=0.9)
    low, high = (L(valid_range)(limits=limits, end=end) for end in (0, 1))
    criterion.matcher = rebuilt(criterion.matcher, SNIPValidRanges, low=low, high=high, ignore=0.3)
