"""Equalized focal loss: the focusing of each class goes by the gradients that it has had so far.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...modeling.defaults import SigmoidLogits, one_hot
from ...structures import Matched
from ._gradient_ratio import GradientRatio


class EFL(GradientRatio, SigmoidLogits):
    """Focal loss whose exponent, and factor, grow for classes whose positives have had little gradient.

    Slot: classification
    Imbalance: class_fg_fg
    Home: retinanet; made for dense heads
    Source: Li et al., 2022, arXiv 2201.02593
    Neutral: EFL(num_classes, scale=0), which is focal loss
    Differs: gradients are worked out from the formula, with the factors but not the divisor of the batch, where the
        authors take those of the layer, in which batches with few objects count more

    With p_t as in focal loss and g_j the ratio of the gradients that positives and negatives of class j have had since
    the training began, held in 0..1 (1 before there was any):

        gamma_j = gamma + scale (1 - g_j)
        L = sum over j of alpha_t (gamma_j / gamma) (1 - p_t)^gamma_j (-log p_t)

    Exponent and factor have no gradient. A class whose g is 0 has gamma 10 and its positives weigh 5 times more: the
    loss grows, so compare with a control of its size.

    Args:
        num_classes: K. gamma: > 0, 2 in the paper. scale: >= 0, 8. alpha: in 0..1, 0.25. prior: see SigmoidLogits.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> EFL(3).exponents().tolist()
        [2.0, 2.0, 2.0]
    """

    normalizer = None

    def __init__(
        self, num_classes: int, gamma: float = 2.0, scale: float = 8.0, alpha: float = 0.25, prior: float = 0.01
    ):
        super().__init__()
        self.set_prior(prior)
        if not (gamma > 0 and scale >= 0 and 0 <= alpha <= 1):
            raise ValueError(
                f"gamma must be positive, scale not negative and alpha in 0..1, got {gamma}, {scale} and {alpha}"
            )
        self.gamma, self.scale, self.alpha = gamma, scale, alpha
        self.remember(num_classes)

    def exponents(self) -> Tensor:
        """Return (K,): gamma_j, from the state before the batch."""
        return self.gamma + self.scale * (1 - self.ratio(start=1.0).clamp(0, 1))

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K) -> (R,)."""
        truth, exponents = one_hot(matched.labels, logits.shape[1], logits.dtype), self.exponents()
        signed = logits * (2 * truth - 1)
        factor = (truth * (2 * self.alpha - 1) + (1 - self.alpha)) * exponents / self.gamma
        loss = factor * (-signed).sigmoid() ** exponents * -F.logsigmoid(signed)
        with torch.no_grad():
            p, wrong = signed.sigmoid(), (-signed).sigmoid()
            size = factor * wrong**exponents * (wrong - exponents * p * F.logsigmoid(signed))
            self.see(size, truth, matched)
        return loss.sum(dim=1), {"efl/exponent_max": exponents.max(), "efl/exponent_mean": exponents.mean()}
