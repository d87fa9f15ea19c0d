"""Balanced softmax: logits are raised by the logarithm of their class's share in training, not at test.

Expect APr up and some of APf lost, as in post-hoc logit adjustment, but learned. With a sampler that repeats rare
classes they are favored twice.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import class_counts
from imbdet.remedies.class_fg_fg.balanced_softmax import BalancedSoftmax

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(BalancedSoftmax)(counts=L(class_counts)(records="${data.train}"), tau=1.0)
