"""Uncertainty weighting: the weight of each loss is learned, as the precision of what it measures.

Letters: L losses.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...slots import Objective
from ._losses import present


class UncertaintyWeighting(nn.Module, Objective):
    """Divides each loss by a learned variance, and adds the logarithm of the variance so that it does not run away.

    Slot: objective
    Imbalance: objective
    Home: either
    Source: Kendall et al., 2018, arXiv 1705.07115
    Neutral: UncertaintyWeighting(names, limit=0, regression_factor=1), in which no variance moves
    Differs: the logarithms are held within -limit..limit, as a loss that can reach 0, such as that of boxes in batches
        without objects, would else drive its own to minus infinity; they are not decayed

    With s_i = log sigma_i^2 of each loss, 0 at first:

        total = sum over classification e^-s_i L_i + sum over boxes 1/2 e^-s_i L_i + sum over both s_i / 2

    The best s_i is log(2 L_i) of classification and log L_i of boxes, so what is learned is the logarithm of each loss.

    Args:
        names: L names of losses; one that a step lacks is passed over, one that is not named keeps the factor 1. Those
            without "cls" in them are regressions.
        limit: >= 0, of |s_i|. regression_factor: 1/2 in the paper.

    Raises:
        ValueError: a limit below 0; at the first step, no such loss.

    Example:
        >>> weigh = UncertaintyWeighting(["loss_cls", "loss_box_reg"])
        >>> losses, _ = weigh({"loss_cls": torch.tensor(1.0), "loss_box_reg": torch.tensor(1.0)})
        >>> {name: value.item() for name, value in losses.items()}
        {'loss_cls': 1.0, 'loss_box_reg': 0.5, 'loss_uncertainty': 0.0}
    """

    def __init__(self, names: Sequence[str], limit: float = 4.0, regression_factor: float = 0.5):
        super().__init__()
        if limit < 0:
            raise ValueError(f"limit must not be negative, got {limit}")
        self.names, self.limit, self.regression_factor = list(names), limit, regression_factor
        self.log_variances = nn.Parameter(torch.zeros(len(self.names)))

    def forward(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        """Map {name: loss} -> {name: weighted loss, and "loss_uncertainty"}, stats."""
        weighted, stats, total = dict(losses), {}, self.log_variances.sum() * 0
        s = self.log_variances.clamp(-self.limit, self.limit)
        for name in present(self.names, losses):
            mine = s[self.names.index(name)]
            weighted[name] = (1.0 if "cls" in name else self.regression_factor) * (-mine).exp() * losses[name]
            total = total + mine / 2
            stats[f"uncertainty/{name}"] = mine.detach()
        return {**weighted, "loss_uncertainty": total}, stats
