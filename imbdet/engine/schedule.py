"""Learning rate as a function of progress 0..1 (the only module that touches fvcore).

A config's `lr_multiplier` is any callable `progress in [0, 1) -> factor`; the trainer multiplies it with each group's
base learning rate before every step. Step, cosine and linear decay are fvcore's; the warm-up is wrapped around any of
them. Lengths are shares of the training by default. Give `num_updates="${train.max_iter}"` (fvcore's word) and they
are iterations.
"""

from collections.abc import Callable

import torch
from fvcore.common.param_scheduler import (
    CompositeParamScheduler,
    ConstantParamScheduler,
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
)

__all__ = [
    "CompositeParamScheduler",
    "ConstantParamScheduler",
    "CosineParamScheduler",
    "LinearParamScheduler",
    "MultiStepParamScheduler",
    "Schedule",
    "WarmupParamScheduler",
    "epochs_to_iterations",
]


class WarmupParamScheduler:
    """Start small, reach `scheduler`, follow it.

    scheduler: what follows. warmup_factor: start value as a share of scheduler(0). warmup_length: 0..1 of the
    training, or iterations if `num_updates` (the length of the training) is given. warmup_method: "linear" ramp from
    the start value to scheduler(warmup_length), or "constant" start value. rescale_interval: True squeezes the whole
    of `scheduler` into what is left after the warm-up, False (default) cuts off its beginning.
    Raises ValueError for an unknown method or a length outside its range.
    """

    def __init__(
        self,
        scheduler: Callable[[float], float],
        warmup_factor: float,
        warmup_length: float,
        warmup_method: str = "linear",
        rescale_interval: bool = False,
        num_updates: int | None = None,
    ):
        if warmup_method not in ("linear", "constant"):
            raise ValueError(f"warmup_method is {warmup_method!r}; use 'linear' or 'constant'")
        length = warmup_length if num_updates is None else min(warmup_length / num_updates, 1.0)
        if not 0 <= length <= 1:
            raise ValueError(
                f"warmup_length is {warmup_length}, a share of the training between 0 and 1;"
                " to give iterations, set num_updates to the length of the training"
            )
        self.scheduler, self.method, self.length, self.rescale = scheduler, warmup_method, length, rescale_interval
        self.first = warmup_factor * scheduler(0.0)
        # At length 1 nothing follows, and a schedule may not be defined there: aim at where it began.
        self.reached = scheduler(0.0 if rescale_interval or length >= 1 else length)

    def __call__(self, where: float) -> float:
        if where < self.length:
            share = where / self.length if self.method == "linear" else 0.0
            return self.first + share * (self.reached - self.first)
        if not self.rescale:
            return self.scheduler(where)
        return self.scheduler((where - self.length) / (1 - self.length))


class Schedule:
    """Sets the learning rate of every group of `optimizer`: base * multiplier(step / max_iter).

    The base is the group's `lr` at construction, so groups keep their ratios. Has no state: it is a function of the
    step.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, multiplier: Callable[[float], float], max_iter: int):
        self.optimizer, self.multiplier, self.max_iter = optimizer, multiplier, max_iter
        self.base = [float(group["lr"]) for group in optimizer.param_groups]

    def set(self, step: int) -> float:
        """Return before step number `step` (0-based); returns the largest learning rate of the groups."""
        factor = self.multiplier(step / self.max_iter)
        for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = base * factor
        return max(self.base) * factor


def epochs_to_iterations(epochs: float, num_images: int, batch_size: int) -> int:
    """Return, for a config that is written in epochs, the iterations that pass `num_images` images `epochs` times,
    at least
    1.
    """
    return max(1, round(epochs * num_images / batch_size))
