"""What long-tail losses on sigmoids have in common: which logits of which regions learn how much.

Letters: R regions, K classes, C logits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.statistics import takes_part
from ...modeling.defaults import SigmoidLogits, one_hot
from ...structures import Matched


class SigmoidGroup(nn.Module, SigmoidLogits):
    """Cross entropy of sigmoids, each times a weight that a filler gives (`weights`).

    with_background: K + 1 logits, of which the last is background; the score of a class is then that of its own logit
    times what background leaves. Else K logits, all 0 for background. Call `set_prior` in the constructor.
    """

    with_background = False
    normalizer = None

    def num_logits(self, num_classes: int) -> int:
        return num_classes + self.with_background

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, C) -> (R,)."""
        target = one_hot(matched.labels, logits.shape[1], logits.dtype)
        weights, stats = self.weights(logits.detach(), target, matched)
        return (weights * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).sum(dim=1), stats

    def weights(self, logits: Tensor, target: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits, target (R, C) -> (R, C), without gradient, and stats."""
        raise NotImplementedError

    def scores(self, logits: Tensor) -> Tensor:
        p = logits.sigmoid()
        return p[..., :-1] * (1 - p[..., -1:]) if self.with_background else p


def rare_classes(image_shares: Sequence[float], threshold: float | None, quantile: float) -> Tensor:
    """Return bool (K,): which classes are rare.

    Args:
        image_shares: K shares of the train images that hold a class. threshold: rare is a class in a smaller share of
            them; None takes the `quantile` of the classes that have boxes with the fewest images, one always being
            left.

    Raises:
        ValueError: threshold or quantile not in 0..1.
    """
    for name, value in (("threshold", threshold), ("quantile", quantile)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} must be in 0..1, got {value}")
    shares, present = np.asarray(image_shares, dtype=float), takes_part(image_shares)
    if threshold is not None:
        return torch.from_numpy(present & (shares < threshold))
    rare = np.zeros(len(shares), dtype=bool)
    order = np.flatnonzero(present)[np.argsort(shares[present], kind="stable")]
    rare[order[: min(int(np.ceil(quantile * len(order))), max(len(order) - 1, 0))]] = True
    return torch.from_numpy(rare)
