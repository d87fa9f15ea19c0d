"""Random sampling: the plainest way to keep background from outnumbering the objects, and the baseline of RoI heads.

On RetinaNet it stands in for focal loss: of each image 256 anchors take part, at most half of them foreground. On RoI
heads it changes nothing until its number or fraction is set.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_bg.random_sampling import RandomSampling

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    sampler = criterion_of(cfg).region_sampler
    criterion_of(cfg).region_sampler = L(RandomSampling)(
        per_image=sampler.get("per_image", 256), fraction=sampler.get("fraction", 0.5)
    )
