"""Decoded pictures kept in memory that all loader workers share.

Notable: the memory is an anonymous shared mapping made before the workers are forked, so that a picture decoded by one
is read by all, it takes pages only as it fills, and it does not count against /dev/shm (64 MB in a container).
"""

from __future__ import annotations

import mmap
import multiprocessing

import numpy as np
import torch
from torch import Tensor

_EMPTY, _ROWS, _PIXELS = 0, 1, 2  # what a slot holds: nothing, planes (3, H, W), or channels last (H, W, 3)


class CachedImages:
    """An image source that decodes each picture of another one once, as far as the memory goes.

    Args:
        images: the source.
        heights, widths: (N,) pixels; a picture of another size is passed on and not kept.
        limit: bytes. The first pictures that fit are kept, the others decoded each time.
    """

    def __init__(self, images, heights: np.ndarray, widths: np.ndarray, limit: int):
        self.images, self.heights, self.widths, self.limit = images, heights, widths, limit
        ends = np.cumsum(3 * heights.astype(np.int64) * widths)
        self.kept = int(np.searchsorted(ends, limit, side="right"))
        self._ends = np.concatenate([[0], ends[: self.kept]])
        if self.kept:
            self._pixels = torch.frombuffer(mmap.mmap(-1, int(self._ends[-1])), dtype=torch.uint8)
            self._state = np.frombuffer(mmap.mmap(-1, self.kept), dtype=np.uint8)
            # Held only to read or set a state: what was written before it was set is then seen by the reader.
            self._lock = multiprocessing.get_context("fork" if _has_fork() else None).Lock()

    def __reduce__(self):
        # Where workers are not forked, each has a cache of its own.
        return CachedImages, (self.images, self.heights, self.widths, self.limit)

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """Return the name in the source."""
        return self.images.name(index)

    def __getitem__(self, index: int) -> Tensor:
        if index >= self.kept:
            return self.images[index]
        with self._lock:
            state = int(self._state[index])
        slot = self._pixels[int(self._ends[index]) : int(self._ends[index + 1])]
        h, w = int(self.heights[index]), int(self.widths[index])
        if state:
            image = slot.clone()  # the caller may do with it what it likes
            return image.view(3, h, w) if state == _ROWS else image.view(h, w, 3).permute(2, 0, 1)
        image = self.images[index]
        if image.shape == (3, h, w):
            last = channels_last(image)
            slot.copy_((image.permute(1, 2, 0) if last else image).reshape(-1))
            with self._lock:
                self._state[index] = _PIXELS if last else _ROWS
        return image


def channels_last(image: Tensor) -> bool:
    """Return whether the three values of a pixel of (3, H, W) lie side by side in memory."""
    return image.stride(0) == 1


def _has_fork() -> bool:
    return "fork" in multiprocessing.get_all_start_methods()
