"""One process, or several started by `python -m torch.distributed.run`: who am I, wait, gather, and the wrapped model.

Data parallel: the loader gives each process its shard of the batch, DistributedDataParallel averages the gradients,
process 0 alone writes. Without torch.distributed.run everything here is a no-op, so that the loop has one form.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """rank: 0..size-1; device: where this process computes."""

    rank: int
    size: int
    device: torch.device

    @property
    def main(self) -> bool:
        """True in the one process that writes files and speaks."""
        return self.rank == 0

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()

    def gather(self, value: Any) -> list[Any]:
        """Return one picklable value of each process, by rank; in every process."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """Return element-wise mean over the processes; `values` must have the same shape everywhere."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def mean_of(self, scalars: dict[str, float]) -> dict[str, float]:
        """Return `mean` of a dict of numbers with the same keys in every process."""
        if self.size == 1:
            return scalars
        values = self.mean(torch.tensor(list(scalars.values()), dtype=torch.float64, device=self.device)).tolist()
        return dict(zip(scalars, values, strict=True))

    def any(self, flag: bool) -> bool:
        """Return true everywhere if true anywhere. All processes must call it at the same place."""
        if self.size == 1:
            return flag
        value = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return bool(value.item())

    def wrap(self, model: nn.Module, find_unused_parameters: bool = False) -> nn.Module:
        """Return the model with averaged gradients. Batch norm keeps its own statistics per process, as peers do (they
        freeze it).
        """
        if self.size == 1:
            return model
        ids = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            model, device_ids=ids, broadcast_buffers=False, find_unused_parameters=find_unused_parameters
        )


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """Map "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" ... -> device. Raises ValueError if it is not
    there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"train.device is {name!r}; use 'auto', 'cpu' or 'cuda'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "train.device is 'cuda', but torch sees no GPU here; use train.device=cpu or train.device=auto"
        )
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local_rank)
    return device


@contextlib.contextmanager
def world_of(device_name: str) -> Iterator[World]:
    """Join the other processes (NCCL on GPUs, Gloo on CPUs) if torch.distributed.run started this one; leave them at
    the end.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = pick_device(device_name, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size == 1 or dist.is_initialized():
        joined = dist.is_initialized()
        yield World(dist.get_rank(), dist.get_world_size(), device) if joined else World(0, 1, device)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    # The others wait while process 0 writes checkpoints and draws pictures: more than NCCL's ten minutes on a slow
    # disk.
    dist.init_process_group(backend, timeout=timedelta(minutes=60))
    try:
        yield World(dist.get_rank(), size, device)
    finally:
        dist.destroy_process_group()
