"""GradNorm: the weights of the two losses move until their gradients at the last shared layer are as large as wanted.

It takes both gradients back to that layer once more in every step: compare at equal time, too. `grad_norm/*` shows the
weights, `balance/box_over_cls` what they do.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.objective.grad_norm import GradNorm

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.objective = L(GradNorm)(rate=0.025, alpha=1.5)
