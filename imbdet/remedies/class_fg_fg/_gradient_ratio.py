"""The gradients of each class's positives and negatives so far, by which some long-tail losses weigh.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor

from ...modeling.running_state import RunningState
from ...structures import Matched


class GradientRatio(RunningState):
    """Remembers of each class the gradient that its positives and its negatives have had since the training began.

    Derive from it before the loss; `ratio` is that of the state before the batch.
    """

    positive: Tensor
    negative: Tensor

    def remember(self, num_classes: int) -> None:
        """Make the buffers; to be called in the constructor."""
        self.register_buffer("positive", torch.zeros(num_classes, dtype=torch.float64))
        self.register_buffer("negative", torch.zeros(num_classes, dtype=torch.float64))

    def ratio(self, start: float) -> Tensor:
        """Return (K,) positives' over negatives' gradient; `start` before there was any."""
        return torch.where(self.negative > 0, self.positive / (self.negative + 1e-10), start).float()

    def see(self, size: Tensor, target: Tensor, matched: Matched) -> None:
        """Add the sizes of this batch's gradients (R, K), those of positives where target (R, K) is above 0."""
        size = (size * matched.considered.unsqueeze(1)).double()
        positive = target > 0
        self.collect(positive=(size * positive).sum(dim=0), negative=(size * ~positive).sum(dim=0))
