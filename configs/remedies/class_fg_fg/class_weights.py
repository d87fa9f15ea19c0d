"""Class weights by the square root of the inverse frequency: rare classes count more in the loss, frequent ones less.

Expect better AP of rare classes, more false alarms of theirs, and some loss on the frequent ones. Other rules:
`...weighting.rule.power=1` for the plain inverse, or in a config of your own
`rule=L(ByName)(weights={"bicycle": 3.0})`. With an image sampler, too, rare classes are favored twice: the counts are
those of the data set, not of what the sampler draws.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import class_counts, class_names
from imbdet.remedies.class_fg_fg.class_weights import ClassWeights, InversePower

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).weighting = L(ClassWeights)(
        counts=L(class_counts)(records="${data.train}"),
        class_names=L(class_names)(records="${data.train}"),
        rule=L(InversePower)(power=0.5),
    )
