"""Instance-aware repeat factors: images with a class that is rare in images and in boxes are shown more often.

Expect what repeat-factor sampling gives, and more for classes that have few boxes in the images that hold them. What
each class gains or loses is printed before training. `dataloader.train.image_sampler.threshold=0.001` is the published
value, for LVIS.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.instance_aware_repeat_factor import InstanceAwareRepeatFactor

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.image_sampler = L(InstanceAwareRepeatFactor)(threshold=None, max_repeats=10.0, _partial_=True)
