"""E-IRFS at its published defaults, alpha 2 and threshold 1e-4: a negative control unless classes are very rare.

Expect the baseline: the log says how often images come. `dataloader.train.image_sampler.threshold=0.01` does something.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.class_fg_fg.e_irfs import EIRFS

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.dataloader.train.image_sampler = L(EIRFS)(alpha=2.0, threshold=1e-4, max_repeats=10.0, _partial_=True)
