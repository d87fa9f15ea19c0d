"""Mixup: another picture is blended into each, with its objects; off in the last tenth of the training.

Expect twice the objects and positive regions of a picture, and gains, if any, in long trainings.
"""

from imbdet.config import LazyCall as L
from imbdet.data.mixing import images_in_training
from imbdet.remedies.class_fg_bg.mixup import Mixup

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    images = L(images_in_training)(
        iterations="${train.max_iter}",
        batch_size="${dataloader.train.batch_size}",
        accumulate="${train.accumulate}",
    )
    cfg.dataloader.train.mix = L(Mixup)(prob=1.0, off=0.1, images=images, alpha=32.0)
