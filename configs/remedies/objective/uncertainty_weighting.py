"""Uncertainty weighting: the weight of each loss is learned with the detector.

Expect weights that follow the inverse of each loss, so the smallest loss weighs most. The logarithms of the variances
are not decayed. `uncertainty/*` shows them.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.objective.uncertainty_weighting import UncertaintyWeighting

from ._names import loss_names

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.objective = L(UncertaintyWeighting)(names=loss_names(cfg), limit=4.0)
    cfg.optimizer.params.overrides = {"log_variances": {"weight_decay": 0.0}}
