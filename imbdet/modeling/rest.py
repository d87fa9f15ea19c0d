"""Steps of the training in which the detector rests while its adversary learns.

An adversary is a module with `begin_step() -> bool` (see RegionFeatures in `imbdet/slots.py`). What is notable here: a
step at rest leaves no gradient and no trace in the detector, so that an optimizer skips its parameters, weight decay
included, and every running state (batch norm, moving normalisers) is afterwards what it was. The forward itself is
that of any training step.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def training_step(detector: nn.Module) -> Iterator[None]:
    """Around the forward of a training: the adversaries in `detector` are told, and it rests if one of them says so."""
    adversaries = [module for module in detector.modules() if hasattr(type(module), "begin_step")]
    counts = torch.is_grad_enabled()  # a validation loss is no step
    if not counts or all([adversary.begin_step() for adversary in adversaries]):  # a list: each is to be told
        yield
    else:
        with at_rest(detector, adversaries):
            yield


@contextlib.contextmanager
def at_rest(detector: nn.Module, learners: list[nn.Module]) -> Iterator[None]:
    """Inside, what is computed depends on no parameter of `detector` but those of `learners`, and changes no buffer.

    Gradients still flow through the detector's layers to what a learner made.
    """
    own = {id(part) for learner in learners for part in learner.modules()}
    others = [module for module in detector.modules() if id(module) not in own]
    fixed = [p for module in others for p in module.parameters(recurse=False) if p.requires_grad]
    buffers = [(module, name, b) for module in others for name, b in module.named_buffers(recurse=False)]
    try:
        for parameter in fixed:
            parameter.requires_grad_(False)
        for module, name, buffer in buffers:  # the copy takes the changes, and stays as it is for the backward
            setattr(module, name, buffer.clone())
        yield
    finally:
        for parameter in fixed:
            parameter.requires_grad_(True)
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
