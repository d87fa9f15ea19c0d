"""The two plain classification losses: the baselines of the classification slot.

A classification owns its logits: how many, their first bias, the loss, and how they become scores.
Letters: R regions, K classes, C logits a region.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..slots import Classification
from ..structures import Matched


class SoftmaxCrossEntropy(Classification):
    """Slot `classification`: K + 1 logits, background last (Faster R-CNN's RoI head)."""

    normalizer = None

    def num_logits(self, num_classes: int) -> int:
        return num_classes + 1

    def initial_bias(self, num_classes: int) -> float:
        return 0.0

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        return F.cross_entropy(logits, matched.labels, ignore_index=-1, reduction="none"), {}

    def scores(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=-1)[..., :-1]

    def background(self, logits: Tensor) -> Tensor:
        return logits.softmax(dim=-1)[..., -1]


class SigmoidLogits(Classification):
    """K independent logits, background is all zeros: what every sigmoid loss has in common.

    Call `set_prior` in the constructor.
    """

    def set_prior(self, prior: float) -> None:
        """prior: probability of every class before training; the bias is -log((1 - prior) / prior).

        Raises:
            ValueError: not in 0..1 exclusive.
        """
        if not 0 < prior < 1:
            raise ValueError(f"prior is a probability in 0..1 exclusive, got {prior}")
        self.prior = prior

    def num_logits(self, num_classes: int) -> int:
        return num_classes

    def initial_bias(self, num_classes: int) -> float:
        return -math.log((1 - self.prior) / self.prior)

    def scores(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


class SigmoidCrossEntropy(SigmoidLogits):
    """Slot `classification`: cross entropy of K independent logits (RPN; RetinaNet without focal loss).

    Args:
        prior: see SigmoidLogits. With 0.5 the bias is 0. RetinaNet takes 0.01, without which cross entropy over 100,000
            anchors diverges (Lin et al., 2017, section 3.3).
    """

    normalizer = None

    def __init__(self, prior: float = 0.5):
        self.set_prior(prior)

    def __call__(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        target = one_hot(matched.labels, logits.shape[1], logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1), {}


def one_hot(labels: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """(R,) -> (R, K); rows of background and of ignored regions are zero."""
    return (labels.unsqueeze(1) == torch.arange(num_classes, device=labels.device)).to(dtype)
