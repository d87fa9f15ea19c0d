"""Mosaic: four pictures in one, each at half to one and a half times its size; off in the last tenth of the training.

Expect more small objects, objects cut at the seams, and gains, if any, in long trainings on small data; what is
evaluated looks otherwise until it ends.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.scale.mosaic import Mosaic

from ...common.mix import images

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.mix = L(Mosaic)(
        prob=1.0, off=0.1, images=images, center=[0.5, 1.5], scale=[0.5, 1.5], least=0.1, fill=114
    )
