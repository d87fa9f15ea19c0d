"""The box loss is scaled to the size of the classification loss in every step: the ratio rule of rank & sort loss.

Expect a larger part of the gradient for whichever loss is small. Nothing is tuned; it is the plainest of the
objectives.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.objective.rank_sort_ratio import RankSortRatio

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.objective = L(RankSortRatio)(strength=1.0)
