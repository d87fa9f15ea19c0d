"""Repeat-factor sampling: images that hold a class rarer than the median class are shown more often.

Expect better AP of rare classes, at the cost of images that hold frequent classes alone. What each class gains or
loses in boxes is printed before training. `dataloader.train.image_sampler.threshold=0.001` is LVIS's published value,
which leaves sets of up to 1000 images untouched.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.repeat_factor_sampling import RepeatFactorSampling

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.image_sampler = L(RepeatFactorSampling)(threshold=None, max_repeats=10.0, _partial_=True)
