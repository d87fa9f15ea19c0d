"""Class weights by the effective number of boxes: rare classes count more, classes with plenty of boxes all alike.

beta is 0.999, of the four values in the paper the one whose limit, 1000 boxes, lies among the counts of a data set of
some thousand images. Where all classes have fewer boxes, these are nearly the inverse frequencies.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import class_counts, class_names
from imbdet.remedies.class_fg_fg.class_weights import ClassWeights
from imbdet.remedies.class_fg_fg.effective_number import EffectiveNumber

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).weighting = L(ClassWeights)(
        counts=L(class_counts)(records="${data.train}"),
        class_names=L(class_names)(records="${data.train}"),
        rule=L(EffectiveNumber)(beta=0.999),
    )
