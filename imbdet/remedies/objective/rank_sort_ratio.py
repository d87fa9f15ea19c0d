"""The ratio rule of rank & sort loss: the box loss is scaled to the size of the classification loss, in every step."""

from torch import Tensor

from ...slots import Objective
from ._losses import pairs


class RankSortRatio(Objective):
    """Multiplies the box loss of each head by the ratio of its classification loss to it, without gradient.

    Slot: objective
    Imbalance: objective
    Home: either
    Source: Oksuz et al., 2021, arXiv 2107.11669, section 4.2 (self-balancing)
    Neutral: RankSortRatio(strength=0)
    Differs: published with rank & sort loss, whose two parts take the place of L_cls here; of the RPN the source scales
        the whole by 0.2 besides

        L_box <- L_box stop(L_cls / L_box)^strength

    so that both losses have the same value in every step, and the gradient of the box loss is that of its logarithm
    times L_cls. Where no region is foreground the box loss is 0 and stays it.

    Args:
        strength: 0 (nothing) .. 1 (as published).

    Example:
        >>> import torch
        >>> losses = {"loss_cls": torch.tensor(2.0), "loss_box_reg": torch.tensor(0.5)}
        >>> RankSortRatio()(losses)[0]["loss_box_reg"]
        tensor(2.)
    """

    def __init__(self, strength: float = 1.0):
        if not 0 <= strength <= 1:
            raise ValueError(f"strength must be in 0 (nothing) .. 1 (equal losses), got {strength}")
        self.strength = strength

    def __call__(self, losses: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict]:
        weighted, stats = dict(losses), {}
        for cls, box in pairs(losses):
            value = losses[box].detach()
            ratio = (losses[cls].detach() / value.where(value > 0, 1.0)) ** self.strength
            weighted[box] = losses[box] * ratio.where(value > 0, 1.0)
            stats[f"rank_sort_ratio/raw_{box}"] = value
        return weighted, stats
