"""Quality focal loss: the score of a class is trained to be the IoU of the box, and easy regions count little.

Letters: R regions, K classes.
"""

from torch import Tensor
from torch.nn import functional as F

from ...structures import Matched
from ._quality import QualityClassification, quality_stats, quality_targets


class QualityFocalLoss(QualityClassification):
    """Focal loss for targets between 0 and 1: the IoU of the regressed box for the region's class, 0 for others.

    Slot: classification
    Imbalance: class_fg_bg
    Home: retinanet; made for dense heads
    Source: Li, Wang, Wu, Chen, Hu, Li, Tang, Yang, 2020, arXiv 2006.04388, equation 2
    Neutral: QualityFocalLoss(beta=0, soft=False), which is sigmoid cross entropy
    Differs: nothing; the rest of GFL (distribution focal loss, ATSS) is not part of it

    With s = sigmoid(x) and y the target:

        QFL = |y - s|^beta ((1 - y) (-log(1 - s)) + y (-log s))

    Args:
        beta: >= 0; 2 in the paper.
        prior: probability of every class before training.
        soft: whether y is the IoU; False makes it 1.
        normalizer: what the sum is divided by; None takes the criterion's.

    Example:
        >>> from imbdet.remedies.class_fg_bg.quality_focal_loss import QualityFocalLoss
        >>> QualityFocalLoss().beta
        2.0
    """

    def __init__(self, beta: float = 2.0, prior: float = 0.01, soft: bool = True, normalizer=None):
        super().__init__(prior, soft, normalizer)
        if beta < 0:
            raise ValueError(f"beta must not be negative, got {beta}")
        self.beta = beta

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """logits (R, K) -> (R,)."""
        target = quality_targets(matched, logits.shape[1], self.soft).to(logits.dtype)
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        if self.beta:
            loss = loss * (target - logits.sigmoid()).abs() ** self.beta
        return loss.sum(dim=1), quality_stats(target, matched)
