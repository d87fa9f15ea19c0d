"""Co-occurrence-aware sampling: images are repeated so that the boxes of all classes together come near a target.

The target is the square root of the class ratio. Expect a lower ratio of boxes than repeat-factor sampling reaches, as
images that bring frequent classes only are shown less; where many classes share an image, no choice of images can
equalize them, and what remains is printed before training.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.co_occurrence_sampling import CoOccurrenceSampling

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.image_sampler = L(CoOccurrenceSampling)(
        power=0.5, min_repeats=0.1, max_repeats=10.0, ridge=0.1, _partial_=True
    )
