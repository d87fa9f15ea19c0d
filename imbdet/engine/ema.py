"""Exponential moving average of the weights: what is evaluated and kept as `best.pth` when `train.ema.enabled`.

    shadow <- decay(t) * shadow + (1 - decay(t)) * weights,   decay(t) = min(decay, (1 + t) / (10 + t))

The ramp of decay(t) (t = updates so far) lets the average leave the random start within a few steps. Buffers (running
statistics) and integers are copied, not averaged.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class ModelEma:
    """A shadow of `model`'s parameters on the same device. decay: 0..1, share of the old average kept a step."""

    def __init__(self, model: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"train.ema.decay is {decay}; it must be at least 0 and below 1, e.g. 0.999")
        self.model, self.decay, self.updates = model, decay, 0
        self.names = [name for name, _ in model.named_parameters()]
        self.live = list(model.parameters())
        self.shadow = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average after an optimizer step; one fused pass, no synchronization."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self.shadow, self.live, 1 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights while inside."""
        kept = [p.detach().clone() for p in self.live]
        self._write(self.shadow)
        try:
            yield
        finally:
            self._write(kept)

    @torch.no_grad()
    def _write(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.live, values, strict=True):
            parameter.copy_(value)

    def state_dict(self) -> dict:
        return {"updates": self.updates, "shadow": dict(zip(self.names, self.shadow, strict=True))}

    def load_state_dict(self, state: dict) -> None:
        self.updates = state["updates"]
        for name, value in zip(self.names, self.shadow, strict=True):
            value.copy_(state["shadow"][name])
