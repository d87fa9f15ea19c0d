"""States in two processes: `python -m tests.remedies.state_checks OUTPUT [REMEDY ...]`, with RANK and WORLD_SIZE set,
leaves what each remedy that remembers something remembers after two steps in OUTPUT/rank{r}.pth. Each process has
pictures of its own.
"""

import copy
import functools
import importlib
import inspect
import sys
from pathlib import Path

import torch
from torch import distributed, nn

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.modeling.running_state import RunningState
from imbdet.remedies import index

WIDTHS = ["model.backbone.widths=[8, 8, 8, 8, 8]", "model.neck.channels=16"]


@functools.cache
def config(remedy):
    """The remedy on its home baseline with few channels; "" is RetinaNet."""
    if not remedy:
        return load_config("baselines/retinanet_shapes", [], WIDTHS)
    home = index.home_baseline(remedy)
    words = WIDTHS if home.endswith("_shapes") else []
    return load_config(home, [remedy], [*words, "data.train.num_images=40"])


@functools.cache
def built(remedy):
    torch.manual_seed(0)
    return instantiate(config(remedy).model).train()


def build(remedy):
    """A model of its own for each call."""
    return copy.deepcopy(built(remedy))


def stateful(model):
    """Modules that remember something, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if not isinstance(module, nn.modules.batchnorm._BatchNorm)
        and (
            set(dict(module.named_buffers(recurse=False))) - module._non_persistent_buffers_set
            or type(module).get_extra_state is not nn.Module.get_extra_state
        )
    }


def candidates(*words):
    """Remedies whose code, or that of a base class, has one of the words; "" is the plain detector, whose normalizer
    moves."""
    found = [""]
    for entry in index.entries():
        place, _, name = entry.target.rpartition(".")
        target = getattr(importlib.import_module(place), name)
        modules = {base.__module__ for base in target.__mro__ if base.__module__.startswith("imbdet.remedies")}
        code = "".join(inspect.getsource(sys.modules[module]) for module in modules)
        if any(word in code for word in words):
            found.append(entry.name)
    return found


def snapshot(model):
    return {
        f"{name}.{key}": value.clone()
        for name, module in stateful(model).items()
        if isinstance(module, RunningState)
        for key, value in module.named_buffers(recurse=False)
        if key not in module._non_persistent_buffers_set
    }


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def losses(model, seed):
    torch.manual_seed(seed)
    return model(*testing.batch(3, 1, size=64, seed=seed))[0]


def states_after(steps, rank, remedies=()):
    """{remedy: what it remembers} after steps on the pictures of process `rank`; all remedies if none is named."""
    found = {}
    for remedy in remedies or candidates("RunningState"):
        model = build(remedy)
        for step in range(steps):
            losses(model, 10 * step + rank + 1)
        found[remedy] = snapshot(model)
    return found


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    place = Path(sys.argv[1]) / f"rank{distributed.get_rank()}.pth"
    torch.save(states_after(2, distributed.get_rank(), sys.argv[2:]), place)
    distributed.barrier()
    distributed.destroy_process_group()
