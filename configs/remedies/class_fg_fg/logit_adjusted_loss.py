"""Logit-adjusted loss on sigmoids: balanced softmax for dense heads.

Expect APr up and some of APf lost. On RoI heads K sigmoids take the place of the softmax.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import class_counts
from imbdet.remedies.class_fg_fg.logit_adjusted_loss import LogitAdjustedLoss

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(LogitAdjustedLoss)(
        counts=L(class_counts)(records="${data.train}"), tau=1.0, prior=0.01
    )
