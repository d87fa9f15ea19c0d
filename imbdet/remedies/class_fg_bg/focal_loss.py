"""Focal loss: regions that are already right count little, so that the many easy background ones do not drown the rest.

Letters: R regions, K classes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...modeling.defaults import SigmoidLogits, one_hot
from ...structures import Matched


class FocalLoss(SigmoidLogits, nn.Module):
    """Sigmoid focal loss over K independent logits.

    Slot: classification
    Imbalance: class_fg_bg
    Home: retinanet; made for dense heads, whose background outnumbers objects a thousandfold; on sampled regions it is
        out of its regime
    Source: Lin, Goyal, Girshick, He, Dollar, 2017, arXiv 1708.02002, equation 5
    Neutral: FocalLoss(gamma=0, alpha=None), which is sigmoid cross entropy
    Differs: on RoI heads, where the paper has no result, the published constants are kept and the loss is divided by
        the foreground regions, as in the paper, not by all sampled ones

    With p the probability that the logit gives to the truth (p = sigmoid(x) for the region's class, 1 - sigmoid(x) for
    others):

        FL = alpha_t (1 - p)^gamma (-log p),    alpha_t = alpha for the region's class, 1 - alpha for others

    Args:
        gamma: >= 0; 2 in the paper. At p = 0.9 an example counts 100 times less than under cross entropy.
        alpha: in 0..1, or None for no factor; 0.25 in the paper, as foreground needs less weight once gamma is 2. A
            mapping {class name: alpha} gives each class its own; classes that it does not name take `other_alpha`.
        prior: probability of every class before training, 0.01 in the paper.
        normalizer: what the sum is divided by; None takes the criterion's.
        class_names: the K names, needed for a mapping only.

    Raises:
        ValueError: a number out of range, an alpha for a class that does not exist.

    Example:
        >>> from imbdet.remedies.class_fg_bg.focal_loss import FocalLoss
        >>> round(FocalLoss().initial_bias(80), 3)
        -4.595
    """

    alpha: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Mapping[str, float] | None = 0.25,
        prior: float = 0.01,
        normalizer=None,
        class_names: Sequence[str] = (),
        other_alpha: float = 0.25,
    ):
        super().__init__()
        check_gamma(gamma)
        self.set_prior(prior)
        self.gamma = gamma
        self.normalizer = normalizer
        self.register_buffer("alpha", alpha_of_classes(alpha, class_names, other_alpha), persistent=False)

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K) -> (R,)."""
        truth = one_hot(matched.labels, logits.shape[1], logits.dtype)
        signed = logits * (2 * truth - 1)  # p = sigmoid(signed) for either kind of truth
        loss = -F.logsigmoid(signed)
        if self.gamma:
            loss = loss * (-signed).sigmoid() ** self.gamma
        if self.alpha is not None:
            loss = loss * (truth * (2 * self.alpha - 1) + (1 - self.alpha))
        return loss.sum(dim=1), {}


def check_gamma(gamma: float) -> None:
    """Raise ValueError for a gamma out of range."""
    if gamma < 0:
        raise ValueError(f"gamma must not be negative, got {gamma}")


def alpha_of_classes(alpha: float | Mapping[str, float] | None, class_names: Sequence[str], other: float):
    """Return alpha as a tensor, () for all classes or (K,) from a mapping by name; None stays None."""
    if alpha is None:
        return None
    if isinstance(alpha, Mapping):
        unknown = [name for name in alpha if name not in class_names]
        if unknown:
            raise ValueError(
                f"alpha names {unknown}, which are not classes; there are {', '.join(class_names) or None}"
            )
        values = torch.tensor([alpha.get(name, other) for name in class_names])
    else:
        values = torch.as_tensor(alpha, dtype=torch.float32)
    if values.numel() and not 0 <= values.min() <= values.max() <= 1:
        raise ValueError(f"alpha must be in 0..1 or None, got {alpha}")
    return values
