"""Smooth L1, the baseline of the regression slot.

Letters: R regions.
"""

from torch import Tensor

from ..slots import Regression
from ..structures import Matched


class SmoothL1(Regression):
    """Slot `regression`: sum over the four deltas of x^2 / (2 beta) where |x| < beta, else |x| - beta / 2.

    Args:
        beta: where the parabola ends, in units of the weighted deltas; 0 (detectron2's default) is plain L1.
    """

    def __init__(self, beta: float = 0.0):
        if beta < 0:
            raise ValueError(f"beta must not be negative, got {beta}")
        self.beta = beta

    def __call__(self, deltas: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """deltas (R, 4) -> (R,)."""
        error = (deltas - box_coder.encode(matched.boxes, matched.targets)).abs()
        if self.beta >= 1e-5:  # below, the parabola's branch divides by almost zero
            error = (error < self.beta) * error**2 / (2 * self.beta) + (error >= self.beta) * (error - self.beta / 2)
        return error.sum(dim=1), {}
