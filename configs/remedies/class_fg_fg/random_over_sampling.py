"""Random over-sampling: images are repeated until their rarest classes are equally frequent, each at most ten times.

Expect better AP of rare classes as long as images hold few classes each; where they hold many, the boxes may come out
less equal than before, which is warned of. Needs the extra `sampling` (imbalanced-learn).
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.random_over_sampling import RandomOverSampling

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.balance = L(RandomOverSampling)(
        sampling_strategy="auto", random_state="${dataloader.train.seed}", max_repeats=10
    )
