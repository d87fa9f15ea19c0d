"""Part `ddp`: one process under DistributedDataParallel, NCCL on a GPU, Gloo on a CPU: the gradients are those of the
bare detector, and what remedies sum over processes goes through.
"""

import contextlib
import copy
import tempfile
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from imbdet.engine.distributed import World

from .cases import CONFIGS, detector, exact, pictures
from .child import figures

GRADIENTS = 1e-5  #: relative to the largest gradient: sums on a GPU are not in a fixed order
#: the plain detectors, a cascade, and remedies that sum over processes, of each kind of state
NAMES = {"faster_rcnn_shapes", "retinanet_shapes", "cascade_rcnn", "seesaw", "eql_v2", "ghm_c", "loce_ebl", "grad_norm"}
NAMES |= {"dynamic_label_assignment", "dynamic_smooth_l1", "adversarial_spatial_dropout", "faster_rcnn_r50_coco"}


def units(small: bool) -> list[str]:
    return [name for name in CONFIGS if name.rsplit("/", 1)[-1] in NAMES]


def run(unit: str, device: str, small: bool) -> dict:
    model = detector(unit, small).to(device)
    given, short = pictures(), []
    with exact(), joined(device) as world:
        plain = _gradients(copy.deepcopy(model), given, lambda m: m)
        wrapped = _gradients(copy.deepcopy(model), given, lambda m: _wrap(world, m))
        scalars = world.mean_of({"a": 1.5, "b": -2.0})
        gathered = world.gather({"rank": world.rank})
        flags = world.any(True), world.any(False)
    worst = max(float((wrapped[k] - g).abs().max() / g.abs().max().clamp(min=1e-12)) for k, g in plain.items())
    if plain.keys() != wrapped.keys():
        short.append(f"{len(plain)} gradients without, {len(wrapped)} with DistributedDataParallel")
    if not worst <= GRADIENTS:
        short.append(f"gradients differ by {worst:.2g} of the largest of their tensor")
    if scalars != {"a": 1.5, "b": -2.0} or gathered != [{"rank": 0}] or flags != (True, False):
        short.append(f"messages came back as {scalars}, {gathered}, {flags}")
    return figures(gradients=worst, tensors=len(plain), backend=_backend(device), short=short)


def _gradients(model: Any, given: tuple, wrap: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    losses, _ = wrap(model)(*given)
    sum(losses.values()).backward()
    return {name: p.grad.detach().float().cpu() for name, p in model.named_parameters() if p.grad is not None}


def _wrap(world: World, model: Any) -> Any:
    """As `World.wrap` does with several processes."""
    return World(world.rank, 2, world.device).wrap(model)


def _backend(device: str) -> str:
    return "gloo" if device == "cpu" else "nccl"


@contextlib.contextmanager
def joined(device: str) -> Iterator[World]:
    """A world of one process that speaks through its backend all the same."""
    where = torch.device(device) if device == "cpu" else torch.device("cuda", torch.cuda.current_device())
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(_backend(device), init_method=f"file://{folder}/store", rank=0, world_size=1)
        try:
            yield World(0, 1, where)
        finally:
            dist.destroy_process_group()
