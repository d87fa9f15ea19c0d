"""Which image comes next (the `image_sampler` slot), and how the stream of images is cut into batches.

Notable: nothing here has a state that a checkpoint would have to save. What stands at a position of the stream, and
what is in the batch of an iteration, is computed from (seed, position) alone, so that a run resumed at iteration k, or
read by another number of workers, sees the same batches.
Letters: N images, B images of a batch over all processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from imbdet.data.records import Records
from imbdet.slots import ImageSampler

# What a random stream is for: the second number of its seed, so that no two purposes share their numbers.
SHUFFLE, GROUP, AUGMENT, ROUNDING, CLASS_ORDER, CLASS_IMAGES, MIX, BOOTSTRAP = range(1, 9)

WINDOW = 16  # batches among which images are grouped by aspect ratio


def bootstrapped(records: Records, seed: int) -> Records:
    """Return as many images as there are, drawn with replacement: what another sample of the same size may look like.

    Args:
        seed: of the draw, which depends on nothing else. A class of very few images may be lost.
    """
    drawn = np.random.default_rng([seed, BOOTSTRAP]).integers(len(records), size=len(records))
    return records.subset(np.sort(drawn))


class UniformSampler(ImageSampler):
    """Every image once an epoch, in an order shuffled anew; the default, and the minus side of the sampling remedies.

    Args:
        records: the data set; only its length counts here.
        seed: of the order.

    Example:
        >>> from itertools import islice
        >>> sorted(islice(UniformSampler(range(4), seed=0).indices(), 4))
        [0, 1, 2, 3]
    """

    def __init__(self, records: Records, seed: int = 0):
        self.size = len(records)
        self.seed = seed

    def indices(self, start: int = 0) -> Iterator[int]:
        """Return image indices from position `start` of the endless stream on; holds one epoch in memory."""
        epoch, skip = divmod(start, self.size)
        while True:
            order = np.random.default_rng([self.seed, SHUFFLE, epoch]).permutation(self.size)
            yield from order[skip:].tolist()
            epoch, skip = epoch + 1, 0


class BatchPlan:
    """The batches of one process, for ever: lists of (position in the stream, image index).

    Args:
        sampler: the stream of images.
        batch_size: B; each process takes an equal, consecutive part of every batch.
        start: the first iteration.
        groups: int (N,) group of each image, or None. With groups, batches are filled from one group where that is
            possible: the positions of WINDOW batches are sorted by group, cut, and the batches shuffled. So at most one
            batch for each further group is mixed in a window, and no image is lost or moved by more than a window.
        seed: of the order of batches in a window.
        rank, world_size: which process of how many.

    Raises:
        ValueError: the batch cannot be shared equally.
    """

    def __init__(
        self,
        sampler: ImageSampler,
        batch_size: int,
        start: int = 0,
        groups: np.ndarray | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(
                f"batch_size={batch_size} cannot be shared by {world_size} processes: it must be a multiple"
            )
        if not 0 <= rank < world_size or start < 0:
            raise ValueError(f"rank={rank}, world_size={world_size}, start={start}: no such process or iteration")
        self.sampler = sampler
        self.batch_size = batch_size
        self.start = start
        self.groups = groups
        self.seed = seed
        share = batch_size // world_size
        self.part = slice(rank * share, (rank + 1) * share)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self._grouped() if self.groups is not None else self._consecutive():
            yield batch[self.part]

    def _consecutive(self) -> Iterator[list[tuple[int, int]]]:
        position = self.start * self.batch_size
        stream = self.sampler.indices(position)
        while True:
            indices = list(islice(stream, self.batch_size))
            yield list(zip(range(position, position + self.batch_size), indices, strict=True))
            position += self.batch_size

    def _grouped(self) -> Iterator[list[tuple[int, int]]]:
        window, skip = divmod(self.start, WINDOW)
        span = WINDOW * self.batch_size
        stream = self.sampler.indices(window * span)
        while True:
            indices = np.fromiter(islice(stream, span), dtype=np.int64, count=span)
            order = np.argsort(self.groups[indices], kind="stable")
            pairs = np.stack([window * span + order, indices[order]], axis=1).reshape(WINDOW, self.batch_size, 2)
            shuffled = np.random.default_rng([self.seed, GROUP, window]).permutation(WINDOW)
            for batch in pairs[shuffled[skip:]].tolist():
                yield [tuple(pair) for pair in batch]
            window, skip = window + 1, 0


def aspect_groups(records: Records) -> np.ndarray:
    """Return int64 (N,): 1 for images that are wider than high, else 0; a batch of one group needs the least
    padding.
    """
    return (records.widths > records.heights).astype(np.int64)
