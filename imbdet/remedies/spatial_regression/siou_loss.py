"""SIoU loss: overlap, a distance that knows the direction, and the sides.

Letters: R regions.
"""

import torch
from torch import Tensor

from ._boxes import TINY, BoxLoss, center_offset, hull, iou_and_union, product, sides


class SIoULoss(BoxLoss):
    """1 - IoU, a distance of the centers that asks for one axis at a time, and the relative error of the sides.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Gevorgyan, 2022, arXiv 2205.12740, angle, distance and shape cost
    Neutral: none that gives L1 on deltas; identical boxes cost 0, and boxes that differ by size alone have no distance
    Differs: the distance cost grows with the distance, as in the paper; mmdetection's default (neg_gamma=False) has the
        sign of its exponent turned, which rewards distance. sin(2 asin s) is written 2 s sqrt(1 - s^2) without its
        arcus. No loss weight is published for these detectors, so 10 on RoI heads (as IoU and GIoU) and 2 on RetinaNet
        (as mmdetection's dense detectors with GIoU)

    With (dx, dy) from center to center, sigma its length, (w_c, h_c) the sides of the smallest box around both:

        L = 1 - IoU + (D + O) / 2
        D = sum over x, y of 1 - exp(-(2 - A) rho),    rho_x = (dx / w_c)^2,    A = sin(2 asin(min(dx, dy) / sigma))
        O = sum over w, h of (1 - exp(-|w - w_t| / max(w, w_t)))^theta

    A is 0 along an axis and 1 on the diagonal, where the distance counts half.

    Args:
        theta: >= 1, how late a wrong side begins to count; 4 in the paper.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[20.0, 0, 30, 10]])
        >>> round(SIoULoss().between(a, b).item(), 4)  # 1 + (1 - exp(-2 * 4 / 9)) / 2
        1.2944
    """

    def __init__(self, theta: float = 4.0):
        if theta < 1:
            raise ValueError(f"theta must be at least 1, got {theta}")
        self.theta = theta

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        iou, _ = iou_and_union(predicted, target)
        offset = center_offset(predicted, target).abs()
        angle = 2 * product(offset) / offset.square().sum(dim=-1).clamp(min=TINY)
        rho = offset.square() / hull(predicted, target).square().clamp(min=TINY)
        distance = (1 - torch.exp((angle - 2).unsqueeze(-1) * rho)).sum(dim=-1)
        own, wanted = sides(predicted), sides(target)
        relative = (own - wanted).abs() / torch.maximum(own, wanted).clamp(min=TINY)
        shape = ((1 - torch.exp(-relative)) ** self.theta).sum(dim=-1)
        return 1 - iou + (distance + shape) / 2
