"""Federated loss: each step only some classes are told that they are absent, those of many images more often.

Letters: R regions, K classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...structures import Matched
from ._class_shift import non_negative, shift_of
from ._sigmoid_group import SigmoidGroup


class FederatedLoss(SigmoidGroup):
    """Sigmoid cross entropy of the classes that the batch holds, and of a few others that are drawn.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Zhou et al., 2021, arXiv 2103.07461, section 4.3; detectron2 `use_fed_loss`
    Neutral: FederatedLoss(counts, num_sampled=K + 1), with all classes, which is sigmoid cross entropy
    Differs: no more classes are asked for than there are, where detectron2 fails below 49; the first probability is
        0.01, without which the first loss is K log 2 a region. Made for LVIS, where an image tells of some classes
        only; where all are annotated it leaves out negatives at random

    S is the classes of the batch's regions, background being one of them, filled up to num_sampled with others, drawn
    without replacement in proportion to m_c^power, m_c the train images that hold class c. The loss is the sum of
    BCE(z_j, t_j) over the j in S.

    Args:
        image_counts: K numbers; a class without images is drawn when all others are. num_sampled: 50 in the source.
        power: >= 0, 0.5 in the source. prior: see SigmoidLogits.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> FederatedLoss([90, 10]).num_logits(2)
        2
    """

    log_probability: Tensor

    def __init__(self, image_counts: Sequence[int], num_sampled: int = 50, power: float = 0.5, prior: float = 0.01):
        super().__init__()
        self.set_prior(prior)
        non_negative(power=power)
        if num_sampled < 1:
            raise ValueError(f"num_sampled must be at least 1, got {num_sampled}")
        self.num_sampled = num_sampled
        logs = shift_of(image_counts, lambda m: power * np.log(m), lambda _: -np.inf)
        self.register_buffer("log_probability", logs.float(), persistent=False)

    def weights(self, logits: Tensor, target: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """See SigmoidGroup."""
        there = (target * matched.considered.unsqueeze(1)).amax(dim=0) > 0
        # the largest of log p + Gumbel noise are a draw without replacement
        noise = -torch.empty_like(self.log_probability).exponential_().log()
        order = (self.log_probability + noise).masked_fill(there, torch.inf).argsort(descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        sampled = there | (rank < self.num_sampled - matched.background.any().long())
        return sampled.to(logits.dtype).expand_as(logits), {"federated_loss/classes": sampled.sum()}
