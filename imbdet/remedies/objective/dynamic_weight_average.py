"""Dynamic weight average: losses that fall slowly weigh more in the next period.

Letters: L losses.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...modeling.running_state import RunningState
from ...slots import Objective
from ._losses import present


class DynamicWeightAverage(RunningState, Objective):
    """Weighs each loss by how much of it is left after a period, beside the other losses.

    Slot: objective
    Imbalance: objective
    Home: either
    Source: Liu et al., 2019, arXiv 1803.10704
    Neutral: DynamicWeightAverage(names, period) in the first two periods, and with an infinite temperature
    Differs: a period is a number of steps, not an epoch, as short trainings have hardly two of those

    With the mean of each loss over the last two periods, r_i = mean_i(t - 1) / mean_i(t - 2):

        w_i = L e^(r_i / T) / sum_j e^(r_j / T),    w_i = 1 until both means are known

    Args:
        names: L names of losses; one that a step lacks is passed over, one that is not named keeps the factor 1.
        period: steps, at least 1. temperature: T > 0, 2 in the paper; the larger, the more equal are the weights.
        periods: with it, `period` is the length of the training and is divided by it.

    Raises:
        ValueError: a number out of range; at the first step, no such loss.

    Example:
        >>> weigh = DynamicWeightAverage(["loss_cls", "loss_box_reg"], period=100)
        >>> weigh({"loss_cls": torch.tensor(1.0), "loss_box_reg": torch.tensor(1.0)})[0]["loss_cls"]
        tensor(1.)
    """

    total: Tensor
    means: Tensor
    steps: Tensor

    def __init__(self, names: Sequence[str], period: int, temperature: float = 2.0, periods: int = 1):
        super().__init__()
        if not (period >= 1 and periods >= 1 and temperature > 0):
            got = f"{period}, {periods} and {temperature}"
            raise ValueError(f"period and periods must be at least 1 and temperature positive, got {got}")
        self.names, self.temperature = list(names), temperature
        self.period = max(1, int(period) // periods)
        self.register_buffer("total", torch.zeros(len(self.names), dtype=torch.float64))  # of this period
        self.register_buffer("means", torch.zeros(2, len(self.names), dtype=torch.float64))  # before last, last
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        """Map {name: loss} -> {name: weighted loss}, stats."""
        weights, weighted, stats = self.weights(), dict(losses), {}
        now = torch.zeros_like(self.total)
        for name in present(self.names, losses):
            i = self.names.index(name)
            now[i] = losses[name].detach()
            weighted[name] = losses[name] * weights[i].to(losses[name].dtype)
            stats[f"dynamic_weight_average/{name}"] = weights[i]
        self.collect(now=now, batches=torch.ones_like(self.total))
        return weighted, stats

    def weights(self) -> Tensor:
        """Return (L,), of mean 1."""
        before, last = self.means
        known = (before > 0).all()
        rate = torch.where(known, last / before.where(before > 0, 1.0), 1.0)
        return len(self.names) * (rate / self.temperature).softmax(dim=0)

    def fold(self, now: Tensor, batches: Tensor) -> None:
        self.total.add_(now / batches)
        self.steps.add_(1)
        over = self.steps % self.period == 0
        means = torch.stack((self.means[1], self.total / self.period))
        self.means.copy_(torch.where(over, means, self.means))
        self.total.copy_(self.total.where(~over, 0.0))
