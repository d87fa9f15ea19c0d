"""Mosaic: four pictures in one, each at half to one and a half times its size; off in the last tenth of the training.

Expect more small objects, objects cut at the seams, and gains, if any, in long trainings on small data; what is
evaluated looks otherwise until it ends.
"""

from imbdet.config import LazyCall as L
from imbdet.data.mixing import images_in_training
from imbdet.remedies.scale.mosaic import Mosaic

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    images = L(images_in_training)(
        iterations="${train.max_iter}",
        batch_size="${dataloader.train.batch_size}",
        accumulate="${train.accumulate}",
    )
    cfg.dataloader.train.mix = L(Mosaic)(
        prob=1.0, off=0.1, images=images, center=[0.5, 1.5], scale=[0.5, 1.5], least=0.1, fill=114
    )
