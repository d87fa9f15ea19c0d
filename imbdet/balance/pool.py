"""All splits of a data set as one, and what is chosen of it: the state that every step of `balance` changes.

Notable: nothing is copied until the end. A part (train, val, ...) is an array of indices into the pool's images, in
which an image may stand several times; boxes are kept by a mask. The pool's image ids and annotation ids are its own
indices, so that whatever takes a subset of its records can be traced back.

Letters: N images, M objects, K classes.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from ..data.records import Records

_OBJECT_FIELDS = ("xywh", "areas")


class PoolImages:
    """The pictures of several splits, one after another."""

    def __init__(self, splits: Sequence[Records]):
        self.sources = [part.images for part in splits]
        self.starts = np.cumsum([0, *map(len, splits)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def place(self, index: int) -> tuple[int, int]:
        """Return (number of the split, index in it)."""
        split = int(np.searchsorted(self.starts, index, side="right")) - 1
        return split, index - int(self.starts[split])

    def __getitem__(self, index: int) -> Tensor:
        split, local = self.place(index)
        return self.sources[split][local]

    def name(self, index: int) -> str:
        split, local = self.place(index)
        return self.sources[split].name(local)

    def path(self, index: int) -> str:
        """Return where the picture should lie; "" where it is no file."""
        split, local = self.place(index)
        return getattr(self.sources[split], "path", lambda _: "")(local)

    def find(self, index: int) -> str:
        """Return the file that is read. Raises FileNotFoundError as reading would, ValueError where it is no file."""
        split, local = self.place(index)
        if not hasattr(self.sources[split], "find"):
            raise ValueError(f"{self.name(index)}: this picture is not a file, so it can be neither linked nor copied")
        return self.sources[split].find(local)


class Pool:
    """The input.

    Attributes:
        splits: {name: Records}, the training split first.
        records: all of them, one after another; image ids are 0..N-1, annotation ids 0..M-1.
        split: int64 (N,), the number of the split that each image came from.
    """

    def __init__(self, splits: dict[str, Records]):
        self.splits = splits
        parts = list(splits.values())
        self.records = _joined(parts)
        self.split = np.repeat(np.arange(len(parts)), [len(part) for part in parts])

    def image_key(self, index: int) -> int | float | str:
        """Return the id of an image as its file writes it."""
        split, local = self.records.images.place(index)
        part = list(self.splits.values())[split]
        return part.image_keys[local] if part.image_keys else int(part.image_ids[local])


class Working:
    """What is chosen so far.

    Attributes:
        pool: the input.
        names, category_ids: the classes as they are now.
        labels: int32 (M,). keep, crowd: bool (M,).
        parts: {name: int64 indices of images}, with repeats.
        on: names of the parts that filters and resampling change.
        notes: what is to be told.
    """

    def __init__(self, pool: Pool, on: Sequence[str] | None = None):
        self.pool = pool
        records = pool.records
        self.names = list(records.class_names)
        self.category_ids = records.category_ids.tolist()
        self.labels = records.labels.copy()
        self.keep = np.ones(records.num_objects, dtype=bool)
        self.crowd = records.crowd.copy()
        self.noisy = np.zeros(records.num_objects, dtype=bool)
        self.parts = {name: np.flatnonzero(pool.split == i) for i, name in enumerate(pool.splits)}
        self.on = list(self.parts)[:1] if on is None else list(on)
        self.notes: list[str] = []

    def label(self, name: str) -> int:
        """Return the label of a class. Raises ValueError with the nearest name."""
        return self.names.index(known(name, self.names, "class"))

    def records(self, part: str) -> Records:
        """Return a part as it is now; its image ids and annotation ids are indices into the pool."""
        return self.chosen(self.parts[part], part)

    def chosen(self, images: np.ndarray, name: str = "") -> Records:
        """Return the images of these indices with what is kept of their objects."""
        pool, keep = self.pool.records, self.keep
        counts = np.bincount(pool.object_image[keep], minlength=len(pool))
        kept = replace(
            pool,
            name=name,
            class_names=tuple(self.names),
            category_ids=np.array(self.category_ids, dtype=np.int64),
            category_keys=None,
            offsets=np.concatenate([[0], np.cumsum(counts)]),
            labels=self.labels[keep],
            crowd=self.crowd[keep],
            annotation_ids=pool.annotation_ids[keep],
            **{field: getattr(pool, field)[keep] for field in _OBJECT_FIELDS},
        )
        return kept.subset(images)

    def images_on(self) -> np.ndarray:
        """Return int64: the images of the parts that are changed, each once, sorted."""
        return np.unique(np.concatenate([np.zeros(0, np.int64), *(self.parts[name] for name in self.on)]))

    def objects_on(self) -> np.ndarray:
        """Return bool (M,): objects that are kept, not crowd, and in an image of `images_on`."""
        inside = np.zeros(len(self.pool.records), dtype=bool)
        inside[self.images_on()] = True
        return self.keep & ~self.crowd & inside[self.pool.records.object_image]

    def drop_images(self, images: np.ndarray) -> int:
        """Take these images out of the parts `on`; returns how many were there."""
        before = len(self.images_on())
        for name in self.on:
            self.parts[name] = self.parts[name][~np.isin(self.parts[name], images)]
        return before - len(self.images_on())


def known(name: str, names: Sequence[str], what: str) -> str:
    """Return `name`, if it is one of `names`. Raises ValueError with the nearest one."""
    if name in names:
        return name
    near = [other for other in names if other.lower() == str(name).lower()]
    near = near or difflib.get_close_matches(str(name), names, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(names[:30])}"
    raise ValueError(f"there is no {what} {name!r}; {hint}")


def _joined(parts: Sequence[Records]) -> Records:
    def columns(*fields: str) -> dict[str, np.ndarray]:
        return {field: np.concatenate([getattr(part, field) for part in parts]) for field in fields}

    per_image, objects = [np.diff(part.offsets) for part in parts], sum(part.num_objects for part in parts)
    images = PoolImages(parts)
    return replace(
        parts[0],
        images=images,
        image_keys=None,
        image_ids=np.arange(len(images)),
        annotation_ids=np.arange(objects),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(per_image))]),
        **columns("heights", "widths", "labels", "crowd", *_OBJECT_FIELDS),
    )
