"""Guided loss: the classification loss is scaled to the size of the box loss in every step.

Published together with no sampling of regions at all, in place of focal loss: nothing is left to tune. Expect a larger
part of the gradient for the boxes as long as they are the larger loss.
"""

from imbdet.config import LazyCall as L
from imbdet.remedies.objective.guided_loss import GuidedLoss

baseline = "baselines/retinanet_shapes"


def apply(cfg):
    two_stage = "roi_heads" in cfg.model
    cfg.model.objective = L(GuidedLoss)(weights={"loss_cls": 2.0} if two_stage else {}, strength=1.0)
