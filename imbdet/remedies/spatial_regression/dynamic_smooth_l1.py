"""Dynamic smooth L1: the parabola shrinks with the errors, so that accurate boxes keep a gradient.

Letters: R regions.
"""

import torch
from torch import Tensor

from ...modeling.running_state import RunningState
from ...slots import Regression
from ...structures import Matched


class DynamicSmoothL1(RunningState, Regression):
    """Smooth L1 whose beta follows how far the better proposals are from their objects.

    Slot: regression
    Imbalance: spatial_regression
    Home: faster_rcnn
    Source: Zhang, Chang, Ma, Wang, Chen, 2020, arXiv 2004.06002, section 4.2 (Dynamic R-CNN), and the authors' code
    Neutral: DynamicSmoothL1(topk=0), which is SmoothL1(initial)
    Differs: the other half of Dynamic R-CNN is `dynamic_label_assignment`. With several processes a step's number is
        the mean of theirs; steps without foreground are left out

        L = sum over the four deltas of x^2 / (2 beta) where |x| < beta, else |x| - beta / 2

    In each step e is the (topk N)-th smallest, over the foreground of its N images, of the mean of |dx| and |dy| of the
    target deltas, in units of the weighted deltas (the largest where there are fewer). After every `interval` steps:

        beta = min(initial, median of e over these steps)

    Args:
        initial: the largest beta, above 0; 1 in the source. topk: for each image, 10 in the source; 0 keeps beta.
        interval: steps, 100 in the source.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> DynamicSmoothL1().beta.item()
        1.0
    """

    beta: Tensor
    history: Tensor
    steps: Tensor

    def __init__(self, initial: float = 1.0, topk: int = 10, interval: int = 100):
        super().__init__()
        if not initial > 0 or topk < 0 or interval < 1:
            raise ValueError(
                f"need initial above 0, topk of 0 or more, interval of 1 or more, got {initial}, {topk}, {interval}"
            )
        self.initial, self.topk, self.interval = float(initial), topk, interval
        self.register_buffer("beta", torch.tensor(self.initial, dtype=torch.float64))
        self.register_buffer("history", torch.zeros(interval, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, deltas: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """Map deltas (R, 4) -> (R,)."""
        target = box_coder.encode(matched.boxes, matched.targets)
        if self.topk:
            self._note(target, matched)
        error, beta = (deltas - target).abs(), self.beta.to(deltas.dtype)
        error = torch.where(error < beta, error.square() / (2 * beta), error - beta / 2)
        return error.sum(dim=1), {"dynamic_smooth_l1/beta": self.beta.clone()}

    def _note(self, target: Tensor, matched: Matched) -> None:
        foreground = matched.foreground
        size = target.detach()[:, :2].abs().mean(dim=1).double()
        count = foreground.sum()
        place = (count.clamp(max=self.topk * matched.num_images) - 1).clamp(min=0)
        chosen = size.masked_fill(~foreground, torch.inf).sort().values.gather(0, place.view(1))[0]
        self.collect(error=torch.where(count > 0, chosen, 0.0), seen=(count > 0).long())

    def fold(self, error: Tensor, seen: Tensor) -> None:
        there = seen > 0
        slot = torch.arange(self.interval, device=error.device) == self.steps
        self.history.copy_(torch.where(slot & there, error / seen.clamp(min=1), self.history))
        self.steps += there
        due = self.steps >= self.interval
        # 1e-3: a parabola narrower than a thousandth of the deltas is L1
        self.beta.copy_(torch.where(due, self.history.median().clamp(min=1e-3, max=self.initial), self.beta))
        self.steps.copy_(torch.where(due, torch.zeros_like(self.steps), self.steps))
