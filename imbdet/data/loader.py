"""From records to batches: `TrainLoader` and `EvalLoader`.

Notable: torch's DataLoader does the work, with a batch sampler that yields (position, image index) pairs. Position and
seed make the random numbers of an image, so that the batch of iteration k is the same for any number of workers and
after a resume. A worker hands over a batch as three tensors instead of three per image: each tensor costs a file
descriptor and a system call or two on its way to the trainer.
"""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from imbdet.data.cache import CachedImages, channels_last
from imbdet.data.records import Records
from imbdet.data.samplers import AUGMENT, MIX, BatchPlan, UniformSampler, aspect_groups
from imbdet.data.tiles import Tiles, part_of
from imbdet.slots import Augment, Balance, ImageSampler, Mix


class TrainLoader:
    """Endless training batches.

    Args:
        records: the data set.
        batch_size: images of a batch, over all processes together.
        augment: the slot of this name; None gives images as they are.
        mix: the slot of this name, before `augment`; None leaves each image by itself.
        image_sampler: the slot of this name, called as `image_sampler(records, seed)`.
        balance: the slot of this name, records -> records, applied once, here; None keeps all.
        num_workers: processes that decode and augment; 0 does it in the trainer's.
        seed: of order and augmentation.
        keep_empty: keep images without any object (`num_empty` says how many there are).
        aspect_ratio_grouping: fill batches with images that are all wide or all high, which saves padding.
        cache_bytes: keep so many bytes of decoded pictures in memory, shared by the workers; 0 keeps none.
        pin_memory: None pins when there is a CUDA device.

    Attributes:
        records: those drawn from, after `keep_empty` and `balance`.
        num_empty: images without objects in the given records.
        epoch_length: iterations of an epoch, ceil(images / batch_size).

    Raises:
        ValueError: no image to train on, or a number out of range.
    """

    def __init__(
        self,
        records: Records,
        batch_size: int,
        augment: Augment | None = None,
        image_sampler: Callable[[Records, int], ImageSampler] = UniformSampler,
        balance: Balance | None = None,
        num_workers: int = 1,
        seed: int = 0,
        keep_empty: bool = True,
        aspect_ratio_grouping: bool = True,
        cache_bytes: int = 0,
        pin_memory: bool | None = None,
        mix: Mix | None = None,
    ):
        _check_sizes(records, batch_size, num_workers)
        self.num_empty = records.num_empty
        if cache_bytes:
            images = CachedImages(records.images, records.heights, records.widths, cache_bytes)
            records = replace(records, images=images)
        if not keep_empty and self.num_empty:
            counts = np.bincount(records.object_image[~records.crowd], minlength=len(records))
            records = records.subset(np.flatnonzero(counts))
            if not len(records):
                raise ValueError(
                    f"{records.source}: all {self.num_empty} images are without objects, and keep_empty is off"
                )
        self._balance, self._given = balance, records
        if balance is not None:
            records = balance(records)
            if not len(records):
                raise ValueError(f"{records.source}: the balance {balance!r} left no image")
        self.records = records
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.pin_memory = pin_memory
        self.sampler = image_sampler(records, seed)
        self.epoch_length = -(-len(records) // batch_size)
        self._groups = aspect_groups(records) if aspect_ratio_grouping else None
        if self._groups is not None and (self._groups == self._groups[0]).all():
            self._groups = None  # one group: nothing to sort
        if mix is not None:
            mix.build(records)
        self._items = _TrainItems(records, augment, seed, mix)

    def iterate(self, start: int = 0, rank: int = 0, world_size: int = 1) -> Iterator[tuple[list[Tensor], list[dict]]]:
        """Return batches from iteration `start` on, for ever; closing the iterator ends its workers.

        Yields:
            images: list of uint8 RGB (3, H, W) of any sizes; targets: list of {"boxes": float32 (m, 4) XYXY in pixels
            of that image, "labels": int64 (m,), "image_id": int}.

        Raises:
            ValueError: the batch cannot be shared by the processes; a picture cannot be read (the message names it).
        """
        plan = BatchPlan(self.sampler, self.batch_size, start, self._groups, self.seed, rank, world_size)
        return _batches(_data_loader(self._items, plan, self.num_workers, self.pin_memory))

    def describe(self) -> str:
        """Say for the log how many images, with how many objects, how long an epoch is; then what `balance`,
        `image_sampler` and `mix` say of themselves.
        """
        empty = "kept" if self.records.num_empty else "left out"
        line = (
            f"{self.records.name}: {len(self.records)} images with {self.records.num_objects} objects"
            + (f" ({self.num_empty} images without objects {empty})" if self.num_empty else "")
            + f", {self.epoch_length} iterations of {self.batch_size} an epoch"
        )
        mixed = "" if self._items.mix is None else self._items.mix.describe()
        balanced = "" if self._balance is None else self._balance.report(self._given, self.records)
        return "\n".join(filter(None, (line, balanced, self.sampler.describe(), mixed)))


class ShardedLoader:
    """A loader for evaluation that gives each process its own part."""

    def iterate(self, rank: int = 0, world_size: int = 1) -> Iterator[tuple[list[Tensor], list[dict]]]:
        """Return batches of images and infos for process `rank`: each image in one process at least."""
        raise NotImplementedError


class EvalLoader(ShardedLoader):
    """Every image once, in order.

    Args:
        records: the data set.
        resize: a transform without randomness, e.g. ResizeShortestEdge of one length; None leaves images as they are.
        batch_size: images of a batch of one process.
        num_workers: processes that decode and resize, kept from one evaluation to the next; 0 does it in the trainer's.
        pin_memory: None pins when there is a CUDA device.
        tiles: look at these parts of each picture instead of the picture; `resize` is then that of a part, and None
            gives it the size of the picture. A picture is decoded once for all of its parts.

    Raises:
        ValueError: no image, or a number out of range.
    """

    def __init__(
        self,
        records: Records,
        resize: Augment | None = None,
        batch_size: int = 8,
        num_workers: int = 1,
        pin_memory: bool | None = None,
        tiles: Tiles | None = None,
    ):
        _check_sizes(records, batch_size, num_workers)
        self.records = records
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.tiles = tiles
        self._items = _EvalItems(records, resize, tiles)
        self._loaders: dict[tuple[int, int], DataLoader] = {}

    def __len__(self) -> int:
        """Return the number of batches of the whole data set in one process."""
        step = self.batch_size
        if self.tiles is None:
            return -(-len(self.records) // step)
        sizes = np.stack((self.records.heights, self.records.widths), axis=1)
        different, which = np.unique(sizes, axis=0, return_inverse=True)
        parts = np.array([len(self.tiles.windows(*size)) for size in different.tolist()])[which.reshape(-1)]
        return int((-(-np.add.reduceat(parts, np.arange(0, len(parts), step)) // step)).sum())

    def __iter__(self) -> Iterator[tuple[list[Tensor], list[dict]]]:
        return self.iterate()

    def iterate(self, rank: int = 0, world_size: int = 1) -> Iterator[tuple[list[Tensor], list[dict]]]:
        """Yield the batches of process `rank`: images rank, rank + world_size, ...: each image once over all of them.

        Yields:
            images: list of uint8 RGB (3, H, W); infos: list of {"image_id", "height", "width"}, the size of the picture
            before resizing: multiply boxes found in the image by width / W and height / H. Of a tile it is the size of
            the tile, and "window" (x1, y1, x2, y2) says where it lies; a picture of one tile has none.

        Raises:
            ValueError: a picture cannot be read (the message names it).
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank}, world_size={world_size}: no such process")
        if (rank, world_size) not in self._loaders:
            indices = range(rank, len(self.records), world_size)
            batches = [indices[i : i + self.batch_size] for i in range(0, len(indices), self.batch_size)]
            loader = _data_loader(self._items, batches, self.num_workers, self.pin_memory)
            self._loaders[rank, world_size] = loader
        found = _batches(self._loaders[rank, world_size])
        return found if self.tiles is None else _in_parts(found, self.batch_size)


class _TrainItems:
    """(position, image index) -> image, target."""

    def __init__(self, records: Records, augment: Augment | None, seed: int, mix: Mix | None = None):
        self.records, self.augment, self.seed, self.mix = records, augment, seed, mix

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, dict]:
        position, index = key
        try:
            image, target = self.records.images[index], self.records.target(index)
            if self.mix is not None:
                rng = np.random.default_rng([self.seed, MIX, position])
                image, target = self.mix(image, target, Draw(self.records, position), rng)
            if self.augment is not None:
                image, target = self.augment(image, target, np.random.default_rng([self.seed, AUGMENT, position]))
        except Exception as error:
            raise _named(error, self.records, index) from error
        return image, {**target, "image_id": int(self.records.image_ids[index])}


class Draw:
    """Other images of the data set, for the slot `mix`.

    position: of the image that is mixed in the stream of all, from 0: iteration * batch_size, and so on.
    """

    def __init__(self, records: Records, position: int):
        self.records, self.position = records, position

    def __call__(self, rng: np.random.Generator, index: int | None = None) -> tuple[Tensor, dict]:
        """Return the image and target of `index`; of an index that `rng` takes where None is given. Not to be changed
        in place: the image may be that of a cache.
        """
        if index is None:
            index = int(rng.integers(len(self.records)))
        return self.records.images[index], self.records.target(index)


class _EvalItems:
    """Image index -> image, info; with tiles, lists of both."""

    def __init__(self, records: Records, resize: Augment | None, tiles: Tiles | None = None):
        self.records, self.resize, self.tiles = records, resize, tiles

    def __getitem__(self, index: int) -> tuple[Tensor, dict] | list[tuple[Tensor, dict]]:
        image_id = int(self.records.image_ids[index])
        try:
            image = self.records.images[index]
            height, width = image.shape[1:]
            windows = None if self.tiles is None else self.tiles.windows(height, width)
            if windows is not None and len(windows) > 1:
                return [_tile(image, window, self.resize, image_id) for window in windows]
            if self.resize is not None:
                image, _ = self.resize(image, {}, np.random.default_rng(0))
        except Exception as error:
            raise _named(error, self.records, index) from error
        sample = image, {"image_id": image_id, "height": height, "width": width}
        return sample if windows is None else [sample]


def _tile(image: Tensor, window: np.ndarray, resize: Augment | None, image_id: int) -> tuple[Tensor, dict]:
    x1, y1, x2, y2 = window.tolist()
    info = {"image_id": image_id, "height": y2 - y1, "width": x2 - x1, "window": (x1, y1, x2, y2)}
    return part_of(image, window, resize), info


def _named(error: Exception, records: Records, index: int) -> Exception:
    """The same failure with the image in front; of the same kind where that can be made of a message alone."""
    where = f"{records.name}, image id {int(records.image_ids[index])} ({records.images.name(index)})"
    for kind in (FileNotFoundError, OSError, ValueError):
        if isinstance(error, kind):
            return kind(f"{where}: {error}")
    return RuntimeError(f"{where}: {type(error).__name__}: {error}")


def _check_sizes(records: Records, batch_size: int, num_workers: int) -> None:
    if not hasattr(records, "images"):
        raise ValueError(f"records is {records!r:.200}; expected a node with a _target_ that reads a data set")
    if not len(records):
        raise ValueError(f"{records.source}: the data set {records.name!r} has no images")
    if batch_size < 1 or num_workers < 0:
        raise ValueError(f"batch_size={batch_size}, num_workers={num_workers}; expected 1 or more and 0 or more")


def _data_loader(items, batches, num_workers: int, pin_memory: bool | None) -> DataLoader:
    options = {}
    if num_workers:
        fork = sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods()
        options = {
            "worker_init_fn": _start_worker,
            "persistent_workers": True,
            "multiprocessing_context": "fork" if fork else None,  # fork shares the records and the cache
        }
    loader = DataLoader(
        items,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_pack if num_workers else _as_lists,
        pin_memory=torch.cuda.is_available() if pin_memory is None else pin_memory,
        # Its own generator: torch draws a number from it at each start, and the global one must not move at a resume.
        generator=torch.Generator(),
        **options,
    )
    _loaders.add(loader)
    return loader


#: loaders that may have workers, for `end_workers`
_loaders: weakref.WeakSet = weakref.WeakSet()


@atexit.register  # later than multiprocessing's own, so it runs before that one waits for its children
def end_workers() -> None:
    """End the workers of all loaders, later than python would. Workers that started while signals were blocked do not
    hear SIGTERM, with which python would end them at exit: a run that a signal or an error ends, with its loader still
    referred to, would wait for them for ever.
    """
    for loader in list(_loaders):
        iterator = getattr(loader, "_iterator", None)
        if hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()


def _batches(loader: DataLoader) -> Iterator[tuple[list[Tensor], list[dict]]]:
    try:
        for batch in loader:
            yield _unpack(batch)
    except Exception as error:
        # The traceback of an error that comes from a worker holds torch's iterator in a cycle of references, which is
        # then taken apart in an order that leaves the workers waiting for 5 s.
        raise error.with_traceback(None)  # noqa: B904 (it is the same error, with its own cause)


def _in_parts(batches: Iterator, size: int) -> Iterator[tuple[list[Tensor], list[dict]]]:
    for images, infos in batches:
        for i in range(0, len(images), size):
            yield images[i : i + size], infos[i : i + size]


def _start_worker(_: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches all processes of a terminal; the trainer decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_lists(samples: list) -> tuple[list[Tensor], list[dict]]:
    if isinstance(samples[0], list):  # of tiles
        samples = [tile for tiles in samples for tile in tiles]
    images, targets = zip(*samples, strict=True)
    return list(images), list(targets)


def _pack(samples: list) -> dict:
    """A batch with all pixels in one tensor, all boxes in one and all labels in one; `_unpack` is the inverse."""
    images, targets = _as_lists(samples)
    layout = [(tuple(image.shape), channels_last(image)) for image in images]
    flat = [
        (image.permute(1, 2, 0) if last else image).reshape(-1) for image, (_, last) in zip(images, layout, strict=True)
    ]
    packed = {"pixels": torch.cat(flat), "layout": layout, "targets": targets}
    if "boxes" in targets[0]:
        packed["counts"] = [len(target["boxes"]) for target in targets]
        packed["boxes"] = torch.cat([target.pop("boxes") for target in targets])
        packed["labels"] = torch.cat([target.pop("labels") for target in targets])
    return packed


def _unpack(batch: dict | tuple) -> tuple[list[Tensor], list[dict]]:
    """Lists of images and targets, as views of the packed tensors."""
    if not isinstance(batch, dict):
        return batch[0], batch[1]
    shapes = [tuple(shape) for shape, _ in batch["layout"]]
    pixels = batch["pixels"].split([c * h * w for c, h, w in shapes])
    images = [
        flat.view(h, w, c).permute(2, 0, 1) if last else flat.view(c, h, w)
        for flat, (c, h, w), (_, last) in zip(pixels, shapes, batch["layout"], strict=True)
    ]
    targets = batch["targets"]
    if "boxes" in batch:
        boxes, labels = batch["boxes"].split(batch["counts"]), batch["labels"].split(batch["counts"])
        targets = [{"boxes": b, "labels": c, **t} for b, c, t in zip(boxes, labels, targets, strict=True)]
    return images, targets
