"""L1 loss on deltas: the loss of the shipped baselines, for configs that have another.

On the baselines it changes no number.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.spatial_regression.l1_loss import L1Loss

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).regression = L(L1Loss)()
