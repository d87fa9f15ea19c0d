"""Varifocal loss: background is weighed down as in focal loss, and foreground counts as much as its box is good.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...structures import Matched
from ._quality import QualityClassification, quality_stats, quality_targets


class VarifocalLoss(QualityClassification):
    """Asymmetric focal loss for scores that are trained to be the IoU of the box.

    Slot: classification
    Imbalance: class_fg_bg
    Home: retinanet; made for dense heads
    Source: Zhang, Wang, Dayoub, Suenderhauf, 2021, arXiv 2008.13367, equation 2
    Neutral: VarifocalLoss(alpha=1, gamma=0, soft=False), which is sigmoid cross entropy
    Differs: nothing; the rest of VFNet (star-shaped features, box refinement, ATSS) is not part of it

    With p = sigmoid(x) and q the IoU of the regressed box for the region's class, 0 for others:

        VFL = q (q (-log p) + (1 - q) (-log(1 - p)))   where q > 0
            = alpha p^gamma (-log(1 - p))              where q = 0

    Args:
        alpha: weight of what is not the region's class; 0.75 in the paper. gamma: >= 0; 2 in the paper.
        prior: probability of every class before training.
        soft: whether q is the IoU; False makes it 1.
        normalizer: what the sum is divided by; None takes the criterion's.

    Example:
        >>> from imbdet.remedies.class_fg_bg.varifocal_loss import VarifocalLoss
        >>> VarifocalLoss().alpha
        0.75
    """

    def __init__(
        self, alpha: float = 0.75, gamma: float = 2.0, prior: float = 0.01, soft: bool = True, normalizer=None
    ):
        super().__init__(prior, soft, normalizer)
        if gamma < 0 or alpha < 0:
            raise ValueError(f"alpha and gamma must not be negative, got alpha {alpha} and gamma {gamma}")
        self.alpha = alpha
        self.gamma = gamma

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """logits (R, K) -> (R,)."""
        target = quality_targets(matched, logits.shape[1], self.soft).to(logits.dtype)
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        focal = self.alpha * logits.sigmoid() ** self.gamma if self.gamma else self.alpha
        return (loss * torch.where(target > 0, target, focal)).sum(dim=1), quality_stats(target, matched)
