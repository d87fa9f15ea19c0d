"""Focal loss instead of cross entropy: easy background regions lose their share of the classification loss.

Expect most on one-stage detectors, which see every anchor. On RoI heads the softmax gives way to K sigmoids, and the
sum is divided by the foreground regions. `alpha` may be a mapping {class name: alpha}.
"""

from imbdet.config import LazyCall as L
from imbdet.config import criterion_of
from imbdet.data.statistics import class_names
from imbdet.modeling.defaults import Foreground
from imbdet.remedies.class_fg_bg.focal_loss import FocalLoss

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    two_stage = "roi_heads" in cfg.model
    criterion_of(cfg).classification = L(FocalLoss)(
        gamma=2.0,
        alpha=0.25,
        prior=0.01,
        normalizer=L(Foreground)() if two_stage else None,
        class_names=L(class_names)(records="${data.train}"),
    )
