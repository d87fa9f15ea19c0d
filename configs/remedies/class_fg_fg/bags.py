"""Balanced group softmax: classes compete only with those that have about as many boxes.

Bins are quartiles of the classes; the published ones are `...edges=[10,100,1000]`. Published as a fine-tune of the
classifier alone, from a finished softmax model (LVIS 0.5, R50: 21.0 to 26.0, of which 12 more epochs alone give 0.9):
train.init_checkpoint, train.freeze and train.reset do that.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import class_counts
from imbdet.remedies.class_fg_fg.bags import BAGS

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(BAGS)(
        counts=L(class_counts)(records="${data.train}"), edges=None, bins=4, others=8.0
    )
