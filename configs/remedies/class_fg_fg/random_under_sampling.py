"""Random under-sampling: each class keeps, as the rarest class of an image, as many images as the rarest of them has.

Expect a loss on all but the rarest classes, as most of the data are left out; it is here as the other simple baseline.
A milder form: `dataloader.train.balance.sampling_strategy=majority`. Needs the extra `sampling` (imbalanced-learn).
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.random_under_sampling import RandomUnderSampling

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.balance = L(RandomUnderSampling)(
        sampling_strategy="auto", random_state="${dataloader.train.seed}"
    )
