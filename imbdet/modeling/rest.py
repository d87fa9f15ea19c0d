"""Steps of the training in which the detector rests while its adversary learns.

An adversary is a module that is `Phased` (see `imbdet/slots.py`). The trainer asks its
`rests` before the step: steps at rest are no iterations (`imbdet/engine/adversaries.py`). What is notable here: a
step at rest leaves no gradient and no trace in the detector, so that an optimizer skips its parameters, weight decay
included, and every running state (batch norm, moving normalizers) is afterwards what it was. The forward itself is
that of any training step.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from ..slots import Phased


def adversaries_of(detector: nn.Module) -> list[Any]:
    """Return the modules of a detector that learn against it: `Phased` fillers."""
    return [module for module in detector.modules() if isinstance(module, Phased)]


@contextlib.contextmanager
def training_step(detector: nn.Module) -> Iterator[None]:
    """Wrap the forward of a training: the adversaries in `detector` are told, and it rests if one of them says so."""
    adversaries = adversaries_of(detector)
    counts = torch.is_grad_enabled()  # a validation loss is no step
    if not counts or all([adversary.begin_step() for adversary in adversaries]):  # a list: each is to be told
        yield
        return
    theirs = {id(part) for adversary in adversaries for part in adversary.modules()}
    with at_rest(module for module in detector.modules() if id(module) not in theirs):
        yield


@contextlib.contextmanager
def at_rest(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Freeze inside: the parameters of `modules` (without those of their children) are constants, and no buffer
    changes.

    Gradients still flow through the layers, to whatever else their inputs depend on.
    """
    modules = list(modules)
    parameters = [p for module in modules for p in module.parameters(recurse=False) if p.requires_grad]
    buffers = [(module, name, b) for module in modules for name, b in module.named_buffers(recurse=False)]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        for module, name, buffer in buffers:  # the copy takes the changes, and stays as it is for the backward
            setattr(module, name, buffer.clone())
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
