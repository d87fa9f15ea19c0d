"""LDAM: rare classes must win by a larger margin; later in training they weigh more, too.

Letters: R regions, K classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...modeling.defaults import SoftmaxCrossEntropy, one_hot
from ...modeling.running_state import RunningState
from ...structures import Matched
from ._class_shift import non_negative, shift_of
from .effective_number import EffectiveNumber


class LDAM(RunningState, SoftmaxCrossEntropy):
    """Cross entropy in which the true class's logit is lowered by a margin that grows as the class gets rarer.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Cao et al., 2019, arXiv 1906.07413; deferred weights: algorithm 1
    Neutral: LDAM(counts, margin=0, scale=1, beta=0), which is the softmax cross entropy of RoI heads
    Differs: written for image classification with a cosine classifier and scale 30; with a linear one, whose logits are
        not bounded, the scale is 1 and it is a margin loss. Background has no margin and the weight 1

    With n_c the train boxes of class c, background's margin 0, and w_y = 1 before the deferred weights begin:

        m_c = margin (min_k n_k / n_c)^(1/4);    L = w_y CE(scale (z - m_y one_hot(y)))

    From the share `deferred` of the training on, w_c is the inverse of the effective number of boxes (Cui et al. 2019),
    scaled to a mean over classes of 1. Scores are the softmax of scale z.

    Args:
        counts: K numbers; a class without boxes has no margin. margin: >= 0, the largest; 0.5 in the source.
        scale: > 0; 30 in the source, for cosines. beta: of the effective number, 0.9999 in the source, 0 for no
        weights.
        deferred: 0..1; 0.8 in the source. max_iter: steps of the training.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> LDAM([1600, 100, 100], max_iter=100).margins.tolist()
        [0.25, 0.5, 0.5, 0.0]
    """

    margins: Tensor
    table: Tensor
    steps: Tensor

    def __init__(
        self,
        counts: Sequence[int],
        margin: float = 0.5,
        scale: float = 1.0,
        beta: float = 0.9999,
        deferred: float = 0.8,
        max_iter: int = 0,
    ):
        super().__init__()
        non_negative(margin=margin)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        if not 0 <= deferred <= 1:
            raise ValueError(f"deferred must be in 0..1, got {deferred}")
        self.scale, self.begin = scale, deferred * max_iter
        rule = EffectiveNumber(beta)
        margins = shift_of(counts, lambda n: margin * (n.min() / n) ** 0.25, lambda _: 0.0)

        def weights(n: np.ndarray) -> np.ndarray:
            inverse = rule(torch.from_numpy(n), []).numpy() if beta else np.ones_like(n)
            return inverse / inverse.mean()

        table = shift_of(counts, weights, lambda _: 1.0)
        self.register_buffer("margins", F.pad(margins, (0, 1)).float(), persistent=False)
        self.register_buffer("table", F.pad(table, (0, 1), value=1.0).float(), persistent=False)
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K + 1) -> (R,)."""
        labels = matched.labels.clamp(min=0)
        margins = one_hot(labels, logits.shape[1], logits.dtype) * self.margins[labels].unsqueeze(1)
        values, stats = SoftmaxCrossEntropy.__call__(self, self.scale * (logits - margins), matched)
        self.collect(steps=torch.ones_like(self.steps))
        return values * torch.where(self.steps >= self.begin, self.table[labels], 1.0), stats

    def fold(self, steps: Tensor) -> None:
        self.steps.add_(1)

    def scores(self, logits: Tensor) -> Tensor:
        return super().scores(self.scale * logits)

    def background(self, logits: Tensor) -> Tensor:
        return super().background(self.scale * logits)
