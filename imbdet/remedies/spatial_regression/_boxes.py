"""What the losses on boxes share: the geometry of a predicted box and its object, row by row.

The formulas are those of torchvision.ops (`generalized_box_iou_loss` and its kin), but not its functions: they pick
rows by a mask, for which the host waits for a GPU, and the gradient of the complete one is NaN at height 0. The tests
compare with them.

Letters: R regions. Boxes are XYXY, (..., 4), in pixels; a pair of numbers (..., 2) is one for x and one for y.
"""

import math

import torch
from torch import Tensor

from ...slots import Regression
from ...structures import Matched

#: smallest area or squared length (pixels^2) that is divided by; below, numerators are 0 or as small
TINY = 1e-12


class BoxLoss(Regression):
    """A regression loss that compares decoded boxes, not deltas; a subclass says what a pair costs (`between`)."""

    def __call__(self, deltas: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """deltas (R, 4) -> (R,)."""
        return self.between(box_coder.decode(deltas, matched.boxes), matched.targets), {}

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Map (R, 4), (R, 4) -> (R,)."""
        raise NotImplementedError


def sides(boxes: Tensor) -> Tensor:
    """Map (..., 4) -> width and height (..., 2)."""
    return boxes[..., 2:] - boxes[..., :2]


def product(pair: Tensor) -> Tensor:
    """Map (..., 2) -> (...)."""
    return pair[..., 0] * pair[..., 1]


def iou_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return IoU (...), area of the union (...). Without overlap the IoU is 0 and has no gradient."""
    common = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    intersection = product(common)
    union = product(sides(a)) + product(sides(b)) - intersection
    return intersection / union.clamp(min=TINY), union


def hull(a: Tensor, b: Tensor) -> Tensor:
    """Return width and height (..., 2) of the smallest box around both."""
    return torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])


def center_offset(a: Tensor, b: Tensor) -> Tensor:
    """Return the way from b's center to a's, (..., 2)."""
    return 0.5 * ((a[..., :2] - b[..., :2]) + (a[..., 2:] - b[..., 2:]))


def empty_share(a: Tensor, b: Tensor, union: Tensor) -> Tensor:
    """Return GIoU's penalty (C - U) / C: how much of the smallest box around both, of area C, neither covers; 0..1."""
    around = product(hull(a, b))
    return (around - union) / around.clamp(min=TINY)


def center_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return DIoU's penalty: squared distance of the centers over the squared diagonal of the box around both; 0..1."""
    diagonal = hull(a, b).square().sum(dim=-1)
    return center_offset(a, b).square().sum(dim=-1) / diagonal.clamp(min=TINY)


def aspect_difference(a: Tensor, b: Tensor) -> Tensor:
    """Return CIoU's v = 4 / pi^2 (angle of a's diagonal - angle of b's)^2; 0..1.

    By atan2 of the two sides, so that a side of 0 gives an angle and a finite gradient. With respect to a size delta
    (the log of a side) that gradient is w h / (w^2 + h^2) <= 1/2, so small boxes need no special case.
    """
    (w, h), (wt, ht) = (sides(x).clamp(min=TINY**0.5).unbind(dim=-1) for x in (a, b))
    return 4 / math.pi**2 * (torch.atan2(wt, ht) - torch.atan2(w, h)).square()


def aspect_weight(v: Tensor, iou: Tensor, gate: float = 0.0) -> Tensor:
    """Return CIoU's alpha = v / (1 - IoU + v), without gradient; 0 where the IoU is below `gate`."""
    v, iou = v.detach(), iou.detach()
    return torch.where(iou >= gate, v / (1 - iou + v).clamp(min=TINY), 0.0)
