"""Equalized quality focal loss: EFL for targets that are the IoU of the box.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...structures import Matched
from ..class_fg_bg._quality import quality_stats, quality_targets
from .efl import EFL


class EQFL(EFL):
    """Quality focal loss whose exponent, and factor, grow for classes whose positives have had little gradient.

    Slot: classification
    Imbalance: class_fg_fg
    Home: retinanet; made for dense heads
    Source: Li et al., 2022, arXiv 2201.02593
    Neutral: EQFL(num_classes, scale=0, soft=False) has quality focal loss's values; scale=0 alone is that loss
    Differs: as in EFL

    With q the IoU of the region's regressed box with its object for its own class, 0 for others, p = sigmoid(z), and
    gamma_j as in EFL:

        L = sum over j of (gamma_j / gamma) |q - p|^gamma_j BCE(p, q)

    Args:
        num_classes: K. gamma: > 0, 2 in the paper. scale: >= 0, 8. soft: False makes q 1 for the region's class.
        prior: see SigmoidLogits.

    Example:
        >>> EQFL(3).exponents().tolist()
        [2.0, 2.0, 2.0]
    """

    def __init__(
        self, num_classes: int, gamma: float = 2.0, scale: float = 8.0, soft: bool = True, prior: float = 0.01
    ):
        super().__init__(num_classes, gamma, scale, prior=prior)
        self.soft = soft

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K) -> (R,)."""
        q, exponents = quality_targets(matched, logits.shape[1], self.soft).to(logits.dtype), self.exponents()
        factor = exponents / self.gamma
        entropy = F.binary_cross_entropy_with_logits(logits, q, reduction="none")
        loss = factor * (q - logits.sigmoid()).abs() ** exponents * entropy
        with torch.no_grad():
            p = logits.sigmoid()
            error = q - p
            slope = exponents * error.abs() ** (exponents - 1) * error.sign() * p * (1 - p) * entropy
            size = factor * (slope + error.abs() ** exponents * error).abs()
            truth = (matched.labels.unsqueeze(1) == torch.arange(logits.shape[1], device=logits.device)).to(q.dtype)
            self.see(size, truth, matched)
        stats = {"eqfl/exponent_max": exponents.max(), "eqfl/exponent_mean": exponents.mean()}
        return loss.sum(dim=1), {**quality_stats(q, matched), **stats}
