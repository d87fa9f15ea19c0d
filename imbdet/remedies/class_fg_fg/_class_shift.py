"""What calibrations by class have in common: each class's odds are multiplied by a constant after training.

Letters: K classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...data.statistics import takes_part
from ...slots import Calibration


class ClassShift(nn.Module, Calibration):
    """Scores of class c are multiplied by exp(shift_c) and divided by their sum with that of background, which is not
    shifted; where each class is scored by itself, its log odds move by shift_c.

    Args:
        shift: (K,) logarithms. Only their buffer depends on the data; it is not saved, so that a finished run takes it.
    """

    shift: Tensor

    def __init__(self, shift: Tensor):
        super().__init__()
        self.register_buffer("shift", shift.float(), persistent=False)

    def forward(self, scores: Tensor, background: Tensor | None) -> Tensor:
        """Map scores (..., K), background (...) or None -> (..., K)."""
        if background is None:
            return (torch.logit(scores) + self.shift).sigmoid()
        moved = scores * self.shift.exp()
        return moved / (moved.sum(dim=-1, keepdim=True) + background.unsqueeze(-1))


def shift_of(values: Sequence[float], log_factor, absent) -> Tensor:
    """Return float64 (K,): `log_factor` of the values of the classes that have any; the others get `absent` of those
    factors, 0 without any.

    Args:
        values: K counts or shares. log_factor, absent: numpy functions (n,) -> (n,) and (n,) -> number.
    """
    present = takes_part(values)
    shift = np.zeros(len(present))
    if present.any():
        shift[present] = log_factor(np.asarray(values, dtype=float)[present])
        shift[~present] = absent(shift[present])
    return torch.from_numpy(shift)


def non_negative(**numbers: float) -> None:
    """Raise ValueError for a number below 0."""
    for name, value in numbers.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value}")
