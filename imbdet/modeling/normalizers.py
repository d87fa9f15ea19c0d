"""What a summed loss is divided by. Heads differ: RetinaNet by foreground, the RPN by a constant, RoI heads by all
sampled.

Letters: N images, R regions.
"""

import torch
from torch import Tensor, nn

from ..structures import Matched


class Considered:
    """All regions that take part, foreground and background (detectron2's RoI heads)."""

    def __call__(self, matched: Matched) -> Tensor:
        return matched.considered.sum().clamp(min=1).float()


class PerImage:
    """A constant for each image of the batch, whatever was sampled (detectron2's RPN: the 256 it asks for).

    Args:
        count: regions an image.
    """

    def __init__(self, count: int = 256):
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.count = count

    def __call__(self, matched: Matched) -> Tensor:
        return torch.full((), float(self.count * matched.num_images), device=matched.labels.device)


class Foreground:
    """The foreground regions of the batch, at least 1 (RetinaNet as published)."""

    def __call__(self, matched: Matched) -> Tensor:
        return matched.foreground.sum().clamp(min=1).float()


class ForegroundAverage(nn.Module):
    """A running mean of the foreground regions of a batch: n <- momentum n + (1 - momentum) max(foreground, 1).

    As detectron2's RetinaNet, which smooths the steps of batches with few objects. Updated before it divides, in
    training only.

    Args:
        momentum: in 0..1. start: first value of n.
    """

    def __init__(self, momentum: float = 0.9, start: float = 100.0):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.tensor(float(start)))

    def forward(self, matched: Matched) -> Tensor:
        count = matched.foreground.sum().clamp(min=1).float()
        value = self.momentum * self.value + (1 - self.momentum) * count
        if self.training and torch.is_grad_enabled():  # a validation loss must not move the training's state
            self.value.copy_(value)
        return value
