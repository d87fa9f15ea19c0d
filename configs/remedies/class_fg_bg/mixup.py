"""Mixup: another picture is blended into each, with its objects; off in the last tenth of the training.

Expect twice the objects and positive regions of a picture, and gains, if any, in long trainings.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_bg.mixup import Mixup

from ...common.mix import images

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.mix = L(Mixup)(prob=1.0, off=0.1, images=images, alpha=32.0)
