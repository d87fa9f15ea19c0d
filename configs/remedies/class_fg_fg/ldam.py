"""LDAM with deferred weights: rare classes must win by a margin, and weigh more in the last fifth of the training.

With `model.roi_heads.classifier` a cosine classifier the published scale is 30; with the linear one of the baseline it
is 1. The controls: `...margin=0` is deferred re-weighting alone, `...beta=0` the margin alone.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import class_counts
from imbdet.remedies.class_fg_fg.ldam import LDAM

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion_of(cfg).classification = L(LDAM)(
        counts=L(class_counts)(records="${data.train}"),
        margin=0.5,
        scale=1.0,
        beta=0.9999,
        deferred=0.8,
        max_iter="${train.max_iter}",
    )
