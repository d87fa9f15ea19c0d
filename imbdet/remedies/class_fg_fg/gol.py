"""Gumbel optimized loss: probabilities come from a function that is slow to leave 0 and fast to reach 1.

Letters: R regions, K classes.
"""

import math

import torch
from torch import Tensor, nn

from ...modeling.defaults import SigmoidLogits, one_hot
from ...structures import Matched


class GOL(nn.Module, SigmoidLogits):
    """Cross entropy of K probabilities exp(-exp(-z)) in place of sigmoids.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Alexandridis et al., 2022, arXiv 2207.10936
    Neutral: none; beside it stands sigmoid cross entropy (`eql` with quantile=0)
    Differs: published on top of DropLoss, repeated images and a normalized mask head, none of which is part of it

        p = exp(-exp(-z)),  z held in -4..10;    L = sum over j of min(-t_j log p_j - (1 - t_j) log(1 - p_j), 20)

    The limits are the authors'. Where they act there is no gradient: a positive whose logit is below -3 learns nothing.

    Args:
        prior: probability of every class before training, 0.001.

    Example:
        >>> import torch
        >>> round(GOL().scores(torch.zeros(1)).item(), 4)  # exp(-1)
        0.3679
    """

    normalizer = None

    def __init__(self, prior: float = 0.001):
        super().__init__()
        self.set_prior(prior)

    def initial_bias(self, num_classes: int) -> float:
        return -math.log(-math.log(self.prior))

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K) -> (R,)."""
        log_p = -(-logits.clamp(-4, 10)).exp()
        target = one_hot(matched.labels, logits.shape[1], logits.dtype)
        loss = torch.where(target > 0, -log_p, -(-torch.expm1(log_p)).log())
        return loss.clamp(max=20).sum(dim=1), {}

    def scores(self, logits: Tensor) -> Tensor:
        return (-(-logits.clamp(-4, 10)).exp()).exp()
