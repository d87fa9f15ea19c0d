"""Where regions lie relative to objects. Letters: N images, M objects, A regions of one image."""

import torch
from torch import Tensor


def centers(boxes: Tensor) -> Tensor:
    """Map (..., 4) -> (..., 2)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def inside(points: Tensor, boxes: Tensor, margin: float = 0.01) -> Tensor:
    """Map points (N, A, 2), boxes (N, M, 4) -> (N, M, A) bool: more than `margin` pixels from each side, within the
    box.
    """
    points, boxes = points.unsqueeze(1), boxes.unsqueeze(2)
    nearest = torch.cat((points - boxes[..., :2], boxes[..., 2:] - points), dim=-1).amin(dim=-1)
    return nearest > margin


def distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Map points (N, A, 2), boxes (N, M, 4) -> (N, M, A): from each point to the center of each box."""
    return (points.unsqueeze(1) - centers(boxes).unsqueeze(2)).square().sum(dim=-1).sqrt()


def nearest_of_level(distance: Tensor, levels: Tensor, level: int, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` regions of one level that are nearest to each object (ties in the order of the regions).

    Args:
        distance: (N, M, A). levels: (N, A).

    Returns:
        index (N, M, S) into the A regions, there (N, M, S) bool: False where the level has fewer
        than S = min(count, A).
    """
    far = distance.masked_fill((levels != level).unsqueeze(1), float("inf"))
    value, index = far.topk(min(count, far.shape[2]), dim=2, largest=False)
    return index, torch.isfinite(value)
