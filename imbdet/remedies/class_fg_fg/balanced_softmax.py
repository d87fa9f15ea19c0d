"""Balanced softmax: in training each class's logit is raised by the logarithm of its share, which the test leaves away.

Letters: R regions, K classes.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from ...modeling.defaults import SoftmaxCrossEntropy
from ...structures import Matched
from ._class_shift import non_negative, shift_of


class BalancedSoftmax(nn.Module, SoftmaxCrossEntropy):
    """Cross entropy of logits to which the logarithm of each class's share among the objects is added.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Ren et al., 2020, arXiv 2007.10740; with tau Menon et al. 2021, arXiv
        2007.07314
    Neutral: BalancedSoftmax(counts, tau=0), which is the softmax cross entropy of RoI heads
    Differs: objects are adjusted among themselves: background keeps its share, and shares are relative to 1/K, so that
        a class of average frequency is not adjusted. Learned from the first step on, where the source fine-tunes a
        finished classifier with images drawn by a learned sampler

    With n_c the train boxes of class c, N their sum, K the classes that have any, and 0 added to background:

        L = -log softmax(z + tau log(K n / N))_y;    score = softmax(z)

    Args:
        counts: K numbers; a class without boxes is not adjusted. tau: >= 0, 1 in the source.

    Example:
        >>> BalancedSoftmax([3, 1]).adjustment.exp().tolist()
        [1.5, 0.5, 1.0]
    """

    adjustment: Tensor

    def __init__(self, counts: Sequence[int], tau: float = 1.0):
        super().__init__()
        non_negative(tau=tau)
        shift = shift_of(counts, lambda n: tau * np.log(n / n.sum() * len(n)), lambda _: 0.0)
        self.register_buffer("adjustment", F.pad(shift, (0, 1)).float(), persistent=False)

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K + 1) -> (R,)."""
        return SoftmaxCrossEntropy.__call__(self, logits + self.adjustment, matched)
