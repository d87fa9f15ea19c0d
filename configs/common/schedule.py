"""Learning rate schedules: what the optimizer's rate is multiplied with, as a function of the progress 0..1.

`lr_multiplier_1x` to `3x` are detectron2's: 1x is meant for 90,000 steps of 16 images, about 12 passes over COCO. They
are shares of the training, so they serve any `train.max_iter`. `cosine` and `linear` give their warm-up in iterations.
"""

from imbdet.config import LazyCall as L
from imbdet.engine.schedule import (
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    WarmupParamScheduler,
)


def steps(total=90000, milestones=(60000, 80000), warmup=1000):
    """A tenth of the rate after each milestone; only the ratios to `total` count."""
    return L(WarmupParamScheduler)(
        scheduler=L(MultiStepParamScheduler)(
            values=[10.0**-i for i in range(len(milestones) + 1)],
            milestones=list(milestones),
            num_updates=total,
        ),
        warmup_length=warmup / total,
        warmup_method="linear",
        warmup_factor=0.001,
    )


def warmed(scheduler, warmup=1000):
    """`scheduler` after a linear warm-up of so many iterations, which cuts off its beginning."""
    return L(WarmupParamScheduler)(
        scheduler=scheduler,
        warmup_length=warmup,
        warmup_method="linear",
        warmup_factor=0.001,
        num_updates="${train.max_iter}",
    )


lr_multiplier_1x = steps()
# detectron2 keeps the ratios of 1x for 2x, with a warm-up of 1000 of 180,000 steps, and decays later in 3x
# (He et al. 2018, arXiv 1811.08883, section 4: the last 60k and 20k steps).
lr_multiplier_2x = steps(total=180000, milestones=(120000, 160000))
lr_multiplier_3x = steps(total=270000, milestones=(210000, 250000))
lr_multiplier_cosine = warmed(L(CosineParamScheduler)(start_value=1.0, end_value=0.0))
lr_multiplier_linear = warmed(L(LinearParamScheduler)(start_value=1.0, end_value=0.0))
