"""What fills a slot in detectron2 where no remedy does."""

from __future__ import annotations

from ..modeling.defaults import SmoothL1
from ..remedies.spatial_regression.ciou_loss import CIoULoss
from ..remedies.spatial_regression.diou_loss import DIoULoss
from ..remedies.spatial_regression.giou_loss import GIoULoss
from ..slots import Regression


def regression_like(name: str, beta: float) -> Regression:
    """Return our filler of the slot regression for detectron2's `box_reg_loss_type` and `smooth_l1_beta`.

    Raises:
        ValueError: a name that detectron2 does not have.
    """
    known = {"smooth_l1": SmoothL1(beta), "giou": GIoULoss(), "diou": DIoULoss(), "ciou": CIoULoss()}
    if name not in known:
        raise ValueError(f"box_reg_loss_type is {name!r}; known are {', '.join(known)}")
    return known[name]
