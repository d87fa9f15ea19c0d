"""DR loss: the hardest negatives' mean probability is to lie a margin below the hardest positives'.

Letters: R regions, K classes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ...modeling.defaults import SigmoidLogits, one_hot
from ...structures import Matched


class DRLoss(SigmoidLogits):
    """Compares one number of the positives with one of the negatives, each a mean that leans towards the hard ones.

    Slot: classification
    Imbalance: class_fg_bg
    Home: retinanet
    Source: Qian, Chen, Li, Jin, 2020, arXiv 1907.10156, equation 8, and the authors' code
    Neutral: none; it has no term of a single region
    Differs: one value for the batch, as in the authors' code, given in equal parts to the regions that take part, so
        that their sum is the loss: `normalizer` is 1 here. The source has no ignored regions (background below IoU
        0.5): set `model.criterion.matcher.background=0.5`

    With p = sigmoid(z) over all regions x classes, means weighted by a softmax over positives and over negatives:

        P+ = sum softmax(-p / lambda+) p,    P- = sum softmax(p / lambda-) p
        L = tau / l log(1 + exp(l (P- - P+ + margin)))

    Without positives P+ is 1. The prior is 0.5, not 0.01: at 0.01 the margin is out of reach of the negatives' mean.

    Args:
        sharpness: l, 6 in the source. tau: 4. margin: 0.5. positive: lambda+, 1. negative: lambda-, 0.1 / log 3.5.
        prior: probability of every class before training, 0.5 in the source.

    Raises:
        ValueError: a number that is not above 0.

    Example:
        >>> DRLoss().initial_bias(80)
        -0.0
    """

    def __init__(
        self,
        sharpness: float = 6.0,
        tau: float = 4.0,
        margin: float = 0.5,
        positive: float = 1.0,
        negative: float = 0.1 / math.log(3.5),
        prior: float = 0.5,
    ):
        if min(sharpness, tau, positive, negative) <= 0:
            raise ValueError(
                f"sharpness, tau, positive and negative must be above 0, got {sharpness}, {tau}, {positive}, {negative}"
            )
        self.set_prior(prior)
        self.sharpness, self.tau, self.margin = sharpness, tau, margin
        self.positive, self.negative = positive, negative
        self.normalizer = _one

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """logits (R, K) -> (R,)."""
        p = logits.sigmoid()
        truth = one_hot(matched.labels, logits.shape[1], logits.dtype) > 0
        rival = matched.considered.unsqueeze(1) & ~truth
        high = torch.where(truth.any(), _mean(p, truth, -1 / self.positive), 1.0)
        low = _mean(p, rival, 1 / self.negative)
        loss = self.tau / self.sharpness * F.softplus(self.sharpness * (low - high + self.margin))
        part = matched.considered.to(loss.dtype)
        stats = {"dr/positives": high.detach(), "dr/negatives": low.detach()}
        return loss * part / part.sum().clamp(min=1), stats


def _one(matched: Matched) -> Tensor:
    return torch.ones((), device=matched.labels.device)


def _mean(p: Tensor, mask: Tensor, slope: float) -> Tensor:
    """Mean of p over the mask with weights softmax(slope p), both with gradient; 0 where the mask is empty."""
    weight = torch.where(mask, torch.exp(slope * p - abs(slope)), 0.0)
    return (weight * p).sum() / weight.sum().clamp(min=torch.finfo(p.dtype).tiny)
