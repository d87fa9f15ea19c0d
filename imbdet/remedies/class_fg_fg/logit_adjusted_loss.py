"""Logit-adjusted loss on sigmoids: in training each logit is raised by the log odds of its class's share.

Letters: R regions, K classes.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from ...modeling.defaults import SigmoidLogits, one_hot
from ...structures import Matched
from ._class_shift import non_negative, shift_of


class LogitAdjustedLoss(nn.Module, SigmoidLogits):
    """Sigmoid cross entropy of logits to which the log odds of each class's share among the objects are added.

    Slot: classification
    Imbalance: class_fg_fg
    Home: retinanet
    Source: Menon et al., 2021, arXiv 2007.07314, put on sigmoids
    Neutral: LogitAdjustedLoss(counts, tau=0), which is sigmoid cross entropy
    Differs: the source has a softmax (`balanced_softmax`). Shares are relative to 1/K, and the first bias of each
        class is lowered by its adjustment, so that every class begins training at the prior

    With pi_c = n_c / N the share of class c among the train boxes and K the classes that have any:

        a_c = tau (log(pi_c / (1 - pi_c)) + log(K - 1));    L = BCE(sigmoid(z_c + a_c));    score = sigmoid(z)

    Args:
        counts: K numbers; a class without boxes is not adjusted, and a single class neither. tau: >= 0.
        prior: see SigmoidLogits.

    Example:
        >>> LogitAdjustedLoss([2, 1, 1]).adjustment.exp().tolist()  # odds 1, 1/3, 1/3, times 2
        [2.0, 0.6666666865348816, 0.6666666865348816]
    """

    adjustment: Tensor

    normalizer = None

    def __init__(self, counts: Sequence[int], tau: float = 1.0, prior: float = 0.01):
        super().__init__()
        non_negative(tau=tau)
        self.set_prior(prior)

        def log_odds(n: np.ndarray) -> np.ndarray:
            return tau * np.log(n / (n.sum() - n) * (len(n) - 1)) if len(n) > 1 else np.zeros(1)

        self.register_buffer("adjustment", shift_of(counts, log_odds, lambda _: 0.0).float(), persistent=False)

    def initial_bias(self, num_classes: int) -> Tensor:
        return super().initial_bias(num_classes) - self.adjustment

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K) -> (R,)."""
        target = one_hot(matched.labels, logits.shape[1], logits.dtype)
        loss = F.binary_cross_entropy_with_logits(logits + self.adjustment, target, reduction="none")
        return loss.sum(dim=1), {}
