"""What a summed loss is divided by. Heads differ: RetinaNet by foreground, the RPN by a constant, RoI heads by all
sampled.

Letters: N images, R regions.
"""

import torch
from torch import Tensor

from ..slots import Normalizer
from ..structures import Matched
from .running_state import RunningState


class Considered(Normalizer):
    """All regions that take part, foreground and background (detectron2's RoI heads)."""

    def __call__(self, matched: Matched) -> Tensor:
        return matched.considered.sum().clamp(min=1).float()


class PerImage(Normalizer):
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


class Foreground(Normalizer):
    """The foreground regions of the batch, at least 1 (RetinaNet as published)."""

    def __call__(self, matched: Matched) -> Tensor:
        return matched.foreground.sum().clamp(min=1).float()


class ForegroundAverage(RunningState, Normalizer):
    """A running mean of the foreground regions of a batch: n <- momentum n + (1 - momentum) max(foreground, 1).

    As detectron2's RetinaNet, which smooths the steps of batches with few objects. The batch that is divided is in the
    mean already. With several processes it is the mean over all of theirs.

    Args:
        momentum: in 0..1. start: first value of n.
    """

    def __init__(self, momentum: float = 0.9, start: float = 100.0):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.tensor(float(start)))

    def forward(self, matched: Matched) -> Tensor:
        count = matched.foreground.sum().clamp(min=1).float()
        return self._after(**self.collect(count=count, batches=torch.ones_like(count)))

    def fold(self, count: Tensor, batches: Tensor) -> None:
        self.value.copy_(self._after(count, batches))

    def _after(self, count: Tensor, batches: Tensor) -> Tensor:
        return self.momentum * self.value + (1 - self.momentum) * (count / batches)
