"""Bounded IoU loss: each coordinate by an IoU of its own, as if the others were right.

Letters: R regions.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ._boxes import BoxLoss, center_offset, sides

#: added to each denominator, pixels
EPS = 1e-3


class BoundedIoULoss(BoxLoss):
    """1 - IoU of a box with one wrong coordinate, summed over the four coordinates; an offset counts twice.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Tychsen-Smith and Petersson, 2018, arXiv 1711.00164; beta and eps of mmdetection
    Neutral: none that gives L1 on deltas; beta=0 is the plain sum, and 1 - IoU for a wrong width alone
    Differs: nothing in the formula; weight 10 on RoI heads is mmdetection's, weight 2 on RetinaNet is that of
        mmdetection's dense detectors with GIoU, as none is published

    With (dx, dy) from center to center:

        B_x = 1 - max(0, (w_t - 2 |dx|) / (w_t + 2 |dx| + eps)),    B_w = 1 - min(w_t / (w + eps), w / (w_t + eps))
        L = sum over x, y, w, h of smooth_l1(B; beta)

    Bounded in 0..4, and still four separate errors. A center that is off by more than half the object has no gradient.

    Args:
        beta: where smooth L1's parabola ends; 0.2 in mmdetection.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[5.0, 0, 15, 10]]), torch.tensor([[0.0, 0, 10, 10]])
        >>> round(BoundedIoULoss().between(a, b).item(), 3)  # B_x = 1 is 0.9 after smooth L1, the others are nearly 0
        0.9
    """

    def __init__(self, beta: float = 0.2):
        if beta < 0:
            raise ValueError(f"beta must not be negative, got {beta}")
        self.beta = beta

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        own, wanted = sides(predicted), sides(target)
        off = 2 * center_offset(predicted, target).abs()
        of_center = 1 - ((wanted - off) / (wanted + off + EPS)).clamp(min=0)
        of_sides = 1 - torch.minimum(wanted / (own + EPS), own / (wanted + EPS))
        bounds = torch.cat((of_center, of_sides), dim=-1)
        return F.smooth_l1_loss(bounds, torch.zeros_like(bounds), reduction="none", beta=self.beta).sum(dim=-1)
