"""Random generators: seeded from one number, saved, restored, and left alone by what only looks on.

A run is a pure function of `train.seed`, the thread count and the number of processes. Process r seeds with seed + r,
so that region sampling differs between shards; the data order is the loader's own affair (a function of seed and
iteration).
"""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from ..cores import usable_cores


def seed_everything(seed: int, rank: int = 0) -> None:
    """Seed python, numpy and torch (all devices). seed: 0 or more."""
    if seed < 0:
        raise ValueError(f"train.seed is {seed}; use 0 or more: a run without a seed cannot be repeated or resumed")
    random.seed(seed + rank)
    np.random.seed((seed + rank) % 2**32)
    torch.manual_seed(seed + rank)


def set_threads(count: int | None) -> int:
    """Return fix torch's threads to `count` and return them; the sums of a CPU run depend on it.

    0 or None leaves them as they are, but for a quota of the control group, which torch does not know.
    """
    if count or torch.get_num_threads() > usable_cores():
        torch.set_num_threads(int(count or usable_cores()))
    return torch.get_num_threads()


def rng_state() -> dict[str, Any]:
    """Return the state of all generators, of tensors and plain numbers only, so that `torch.load(weights_only=True)`
    reads it.
    """
    name, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Undo `rng_state`: set what it returned. A CUDA state is skipped on a machine with another number of GPUs."""
    version, numbers, gauss_next = state["python"]
    random.setstate((version, tuple(numbers), gauss_next))
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextlib.contextmanager
def preserved_rng(seed: int | None = None) -> Iterator[None]:
    """Draw inside without a trace: whatever is drawn leaves the generators as they were; with `seed`, it is the
    same every time.
    """
    state = rng_state()
    try:
        if seed is not None:
            seed_everything(seed)
        yield
    finally:
        set_rng_state(state)
