"""Times of what runs on a device, and its memory."""

import time
from collections.abc import Callable
from typing import Any

import torch


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()


def seconds_of(action: Callable[[], Any], device: str) -> float:
    """Wall time of one call, from an idle device to an idle device."""
    wait(device)
    began = time.perf_counter()
    action()
    wait(device)
    return time.perf_counter() - began


def memory_of(action: Callable[[], Any], device: str) -> float | None:
    """MiB that one call holds at most; None on a CPU."""
    if device == "cpu":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    action()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**20
