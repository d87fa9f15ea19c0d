"""Dynamic weight average: losses that fall slowly weigh more in the next period, here a tenth of the training.

Expect weights near 1: at temperature 2 a loss that stood still weighs about 1.1 where its partner halved.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.objective.dynamic_weight_average import DynamicWeightAverage

from ._names import loss_names

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.objective = L(DynamicWeightAverage)(
        names=loss_names(cfg), period="${train.max_iter}", periods=10, temperature=2.0
    )
