"""Post-hoc logit adjustment: a finished detector's logits lose the logarithm of their class's share.

It needs no training: `imbdet evaluate --run DIR --remedy logit_adjustment_post_hoc --tune-on train --split test`.
Expect APr up at some cost of APf; with tau 1 rare classes may be found everywhere.
"""

from imbdet.config import LazyCall as L
from imbdet.data.statistics import class_counts
from imbdet.remedies.class_fg_fg.logit_adjustment_post_hoc import LogitAdjustmentPostHoc

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.calibration = L(LogitAdjustmentPostHoc)(counts=L(class_counts)(records="${data.train}"), tau=1.0)
