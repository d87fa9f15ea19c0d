"""LOCE's equilibrium loss: logits are raised by the mean score of their class, which the test leaves away.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...modeling.defaults import SoftmaxCrossEntropy, one_hot
from ...modeling.running_state import RunningState
from ...structures import Matched


class EquilibriumLoss(RunningState, SoftmaxCrossEntropy):
    """Cross entropy of logits to which the logarithm of each class's mean score on its own regions is added.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Feng et al., 2021, arXiv 2108.07507 and the authors' code
    Neutral: EquilibriumLoss(num_classes, momentum=1), whose mean scores stay equal, which is softmax cross entropy
    Differs: the memory of features that the paper adds is not part of it; learned from the first step, where the source
        fine-tunes the classifier of a cosine model for 6 epochs

    With s_c the running mean of softmax(z)_c over the regions of class c, 0.01 at first and always of background:

        L = -log softmax(z + log s)_y;    s_c <- momentum s_c + (1 - momentum) mean over the batch
        score = softmax(z)

    It is balanced softmax with a prior that is learned: a class that is recognized well is held back.

    Args:
        num_classes: K. momentum: 0..1, 0.9 in the source.

    Raises:
        ValueError: a momentum out of range.

    Example:
        >>> EquilibriumLoss(2).mean_scores.tolist()
        [0.01, 0.01, 0.01]
    """

    mean_scores: Tensor

    def __init__(self, num_classes: int, momentum: float = 0.9):
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in 0..1, got {momentum}")
        self.momentum = momentum
        self.register_buffer("mean_scores", torch.full((num_classes + 1,), 0.01, dtype=torch.float64))

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K + 1) -> (R,)."""
        own = one_hot(matched.labels, logits.shape[1] - 1, torch.float64)
        scores = logits.detach().double().softmax(dim=1)[:, :-1]
        self.collect(total=(own * scores).sum(dim=0), regions=own.sum(dim=0))
        values, stats = SoftmaxCrossEntropy.__call__(self, logits + self.mean_scores.log().to(logits.dtype), matched)
        known = self.mean_scores[:-1]
        return values, {**stats, "loce_ebl/score_min": known.min(), "loce_ebl/score_max": known.max()}

    def fold(self, total: Tensor, regions: Tensor) -> None:
        before, mean = self.mean_scores[:-1], total / regions.clamp(min=1)
        after = torch.where(regions > 0, self.momentum * before + (1 - self.momentum) * mean, before)
        self.mean_scores.copy_(F.pad(after.clamp(min=1e-6), (0, 1), value=0.01))  # a logarithm needs more than 0
