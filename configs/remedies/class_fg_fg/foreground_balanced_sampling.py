"""Foreground-balanced sampling: among an image's chosen foreground regions all its classes are equally likely.

Expect a small effect: only images with more foreground than the quota change, and only within themselves; a class that
is rare over the data set stays rare. Number and fraction are the baseline's where it samples. Where it takes all
anchors (RetinaNet) they are 512 and 0.25 of an image, the background drawn at random, which changes far more than the
classes.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.remedies.class_fg_fg.foreground_balanced_sampling import ForegroundBalancedSampling

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    criterion = criterion_of(cfg)
    criterion.region_sampler = L(ForegroundBalancedSampling)(
        per_image=criterion.region_sampler.get("per_image", 512),
        fraction=criterion.region_sampler.get("fraction", 0.25),
        power=1.0,
    )
