"""Batch norm folded into the convolution before it, at test: one pass over each map less, the same numbers but for
rounding.

In eval mode a batch norm multiplies and shifts each channel by constants, so a convolution with scaled weights and a
bias does both. The network itself stays as it is; a folded copy is made when it is first asked for and again when a
weight has changed since.
"""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

CHECK = 1e-3  #: largest difference between folded and plain maps, relative to the largest value, before it is given up


class Folded:
    """A network for inference: `Folded(backbone)(x)` equals `backbone(x)` in eval mode.

    Not a Module, so that the copy is in no state dict. Memory: a second set of the weights, while it is in use.
    """

    def __init__(self, network: nn.Module):
        self.network = network
        self.key: Any = None
        self.copy: nn.Module | None = None

    def __call__(self, x: Tensor) -> Any:
        key = _state_of(self.network)
        if key != self.key:
            self.key, self.copy = key, fold(self.network, x[:1])
        return (self.copy or self.network)(x)

    def forget(self) -> None:
        """Drop the copy, as training does not need its memory."""
        self.key = self.copy = None

    def __deepcopy__(self, memo: dict) -> "Folded":
        return Folded(copy.deepcopy(self.network, memo))

    def __getstate__(self) -> dict:
        return {"network": self.network, "key": None, "copy": None}


def _state_of(network: nn.Module) -> tuple:
    """Changes whenever a tensor of the network is replaced or written to."""
    tensors = [*network.parameters(), *network.buffers()]
    return tuple((t.data_ptr(), t.device, None if t.is_inference() else t._version) for t in tensors)


def fold(network: nn.Module, example: Tensor) -> nn.Module | None:
    """A copy of `network` (in eval mode) without batch norms that follow a convolution; None if there are none.

    Which norm follows which convolution is seen by running `example` (N, C, H, W) through the copy, and the result is
    compared with the network's own: a network whose convolutions feed more than their norm is left as it is.
    """
    if getattr(network, "_compiled_call_impl", None) is not None:
        return None
    with in_float32(example.device.type):  # 16 bits, and TF32, differ by more than `CHECK` all the same
        return _folded(network, example)


@contextlib.contextmanager
def in_float32(device_type: str) -> Iterator[None]:
    """Neither autocast nor TF32 in convolutions inside."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        cudnn.allow_tf32 = before


def _folded(network: nn.Module, example: Tensor) -> nn.Module | None:
    folded = copy.deepcopy(network)
    pairs = _followers(folded, example)
    if not pairs:
        return None
    for conv, norm in pairs:
        scale = norm.running_var.add(norm.eps).rsqrt()
        scale = scale * norm.weight if norm.weight is not None else scale
        shift = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
        bias = shift * scale if norm.bias is None else shift * scale + norm.bias
        conv.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1), requires_grad=False)
        conv.bias = nn.Parameter(bias, requires_grad=False)
        # timm's norms hold their dropout and activation
        rest = nn.Sequential(getattr(norm, "drop", nn.Identity()), getattr(norm, "act", nn.Identity()))
        folded.set_submodule(next(name for name, m in folded.named_modules() if m is norm), rest)
    if not _alike(network(example), folded(example)):
        return None
    return folded.requires_grad_(False).eval()


def _followers(network: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, Any]]:
    """(convolution, norm) where the norm's input is the convolution's output."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    pairs: list[tuple[nn.Conv2d, Any]] = []
    hooks = []

    def remember(module, inputs, output):
        made[id(output)] = (module, output)  # held, so that no id is used twice

    def look(module, inputs):
        conv, _ = made.get(id(inputs[0]), (None, None))
        if conv is not None and conv.out_channels == module.running_mean.numel():
            pairs.append((conv, module))

    for module in network.modules():
        if type(module) is nn.Conv2d:  # subclasses may change their weights on the way
            hooks.append(module.register_forward_hook(remember))
        elif getattr(module, "running_var", None) is not None and hasattr(module, "eps") and not module.training:
            hooks.append(module.register_forward_pre_hook(look))
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    # a module that is used twice has two partners, and folding would change one of its uses
    return [pair for pair in pairs if all(sum(m is other for p in pairs for other in p) == 1 for m in pair)]


def _alike(plain: Any, folded: Any) -> bool:
    """Whether two results of a backbone, {level: map}, agree up to rounding."""
    pairs = [(plain[k], folded[k]) for k in plain]
    return all(bool((a - b).abs().amax() <= CHECK * a.abs().amax().clamp(min=1e-6)) for a, b in pairs)


__all__ = ["Folded", "fold"]
