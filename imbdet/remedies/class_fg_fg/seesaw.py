"""Seesaw loss: a frequent class pushes a rare one down less, unless it is the one that is wrongly predicted.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor

from ...modeling.running_state import RunningState
from ...structures import Matched
from ._class_shift import non_negative
from .objectness_softmax import ObjectnessSoftmax


class Seesaw(RunningState, ObjectnessSoftmax):
    """Softmax over the classes in which the others' logits are shifted by frequency (down) and by error (up).

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn alone; on dense heads, where no regions are sampled, neither its divisor nor its counts have a
        meaning
    Source: Wang et al., 2021, arXiv 2008.10032
    Neutral: Seesaw(num_classes, p=0, q=0), which is ObjectnessSoftmax
    Differs: the counts are summed over the processes, where mmdetection has one count for each. Published with a cosine
        classifier (`model.roi_heads.classifier`), which is not part of it

    With N_c the foreground regions of class c since the training began, this batch included and at least 1, s the plain
    softmax, without gradient, and y the region's class:

        z_j <- z_j + log M_j + log C_j  for j != y
        M_j = (N_j / N_y)^p where N_j < N_y, else 1;    C_j = (s_j / max(s_y, eps))^q where that is above 1, else 1

    Args:
        num_classes: K. p: >= 0, 0.8 in the paper; how much rare classes are spared. q: >= 0, 2; how much errors count.
        eps: > 0; 0.01 as in mmdetection, without which an error counts without a limit.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> Seesaw(3).num_logits(3)
        5
    """

    counts: Tensor

    def __init__(self, num_classes: int, p: float = 0.8, q: float = 2.0, eps: float = 0.01):
        super().__init__()
        non_negative(p=p, q=q)
        if not eps > 0:
            raise ValueError(f"eps must be positive, got {eps}")
        self.p, self.q, self.eps = p, q, eps
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.int64))

    def adjust(self, classes: Tensor, labels: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """See ObjectnessSoftmax."""
        truth = (labels.unsqueeze(1) == torch.arange(classes.shape[1], device=labels.device)).long()
        counts = self.counts + self.collect(counts=truth.sum(dim=0))["counts"]
        number, mine = counts.clamp(min=1).to(classes.dtype).log(), labels.clamp(min=0)
        spared = self.p * (number - number[mine].unsqueeze(1)).clamp(max=0)
        s = classes.detach().softmax(dim=1)
        own = s.gather(1, mine.unsqueeze(1)).clamp(min=self.eps)
        pushed = self.q * (s / own).clamp(min=1).log()
        return classes + (spared + pushed) * (1 - truth), {"seesaw/counted": counts.sum()}
