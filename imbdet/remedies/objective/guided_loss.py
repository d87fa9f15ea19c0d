"""Guided loss: the classification loss is scaled to the size of the box loss, in every step.

Letters: P pairs of a classification and a box loss.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ...modeling.running_state import RunningState
from ...slots import Objective
from ._losses import pairs

MOST = 8  #: pairs that are told apart, e.g. an RPN and three stages of a cascade are four


class GuidedLoss(RunningState, Objective):
    """Multiplies the classification loss of each head by the ratio of its box loss to it, without gradient.

    Slot: objective
    Imbalance: objective
    Home: retinanet
    Source: Chen et al., 2019, arXiv 1909.04868, table 4
    Neutral: GuidedLoss(strength=0)
    Differs: published with no sampling of regions and a bias from the share of foreground, which are not part of it.
        In a batch without foreground, whose box loss is 0, the ratio of the step before holds, so that background goes
        on being learned

        L_cls <- w L_cls stop(L_box / L_cls)^strength

    The classification loss then shows w times the box loss; its own value is logged as guided_loss/raw_<name>.

    Args:
        weights: {name of a classification loss: w}; 1 for those that are not named. The paper takes 1 for RetinaNet and
            for the RPN, 2 for the head of Faster R-CNN.
        strength: 0 (nothing) .. 1 (as published).

    Raises:
        ValueError: a weight that is not positive, a strength out of range.

    Example:
        >>> losses = {"loss_cls": torch.tensor(2.0), "loss_box_reg": torch.tensor(0.5)}
        >>> GuidedLoss()(losses)[0]["loss_cls"]
        tensor(0.5000)
    """

    ratios: Tensor

    def __init__(self, weights: Mapping[str, float] | None = None, strength: float = 1.0):
        super().__init__()
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be in 0 (nothing) .. 1 (equal losses), got {strength}")
        if any(not weight > 0 for weight in (weights or {}).values()):
            raise ValueError(f"weights must be positive, got {dict(weights or {})}")
        self.weights = dict(weights or {})
        self.strength = strength
        self.register_buffer("ratios", torch.ones(MOST, dtype=torch.float64))

    def forward(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        """Map {name: loss} -> {name: weighted loss}, stats."""
        weighted, stats, ratios = dict(losses), {}, []
        for i, (cls, box) in enumerate(pairs(losses)[:MOST]):
            raw, guide = losses[cls].detach().double(), losses[box].detach().double()
            there = (guide > 0) & (raw > 0)
            ratio = torch.where(there, guide / raw.where(there, 1.0), self.ratios[i])
            ratios.append(torch.stack((ratio * there, there.double())))
            factor = self.weights.get(cls, 1.0) * ratio**self.strength
            weighted[cls] = losses[cls] * factor.to(losses[cls].dtype)
            stats[f"guided_loss/raw_{cls}"] = raw
        if ratios:
            total = torch.stack(ratios, dim=1)
            self.collect(total=torch.nn.functional.pad(total, (0, MOST - len(ratios))))
        return weighted, stats

    def fold(self, total: Tensor) -> None:
        """total (2, MOST): sums of the ratios and how many there were."""
        mean = total[0] / total[1].clamp(min=1)
        self.ratios.copy_(torch.where(total[1] > 0, mean, self.ratios))
