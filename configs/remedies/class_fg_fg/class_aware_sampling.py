"""Class-aware sampling: all classes are drawn equally often, then an image of the class.

Expect a strong effect, for better or worse: few images of rare classes are shown very often, most images seldom. What
each class gains or loses in boxes is printed before training. `dataloader.train.image_sampler.max_repeats=null` is the
published form, without a limit.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.class_aware_sampling import ClassAwareSampling

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.image_sampler = L(ClassAwareSampling)(max_repeats=10.0, _partial_=True)
