"""One split of a data set, held in a few flat arrays.

Notable: there is no Python object per image or box. 118k images and 860k boxes are a dozen numpy arrays, so that loader
workers made by `fork` share one copy instead of touching (and so copying) a million reference counts each. The arrays
are read-only, because loading functions are cached and several parts of a config hold the same `Records`; change a
copy with `dataclasses.replace(records, xywh=...)`.

Letters: N images, M objects, K classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

_ARRAYS = {
    "category_ids": np.int64,
    "image_ids": np.int64,
    "heights": np.int32,
    "widths": np.int32,
    "offsets": np.int64,
    "xywh": np.float64,
    "labels": np.int32,
    "areas": np.float64,
    "crowd": np.bool_,
    "annotation_ids": np.int64,
}


@dataclass(frozen=True)
class IdKeys:
    """The ids as a file writes them, where they are text and whole numbers stand for them.

    Attributes:
        images, categories: {number: id in the file}; a number that is not there is itself the id.
    """

    images: dict[int, str | float]
    categories: dict[int, str | float]

    def numbers(self, part: str) -> dict[str, int]:
        """Return {id in the file, as text: number} of "images" or "categories"."""
        return {str(key): number for number, key in getattr(self, part).items()}


class ImageSource(Protocol):
    """Where pictures come from: files (`imbdet.data.images.FileImages`) or a renderer (shapes)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor:
        """Return the picture of this index, uint8 RGB (3, H, W)."""

    def name(self, index: int) -> str:
        """Return what a message calls this picture: its file name, without the folder of the data set."""


class SubsetImages:
    """A choice of another source's pictures, with repeats; made by `Records.subset`."""

    def __init__(self, source: ImageSource, indices: np.ndarray):
        if isinstance(source, SubsetImages):  # a subset of a subset stays one hop
            source, indices = source.source, source.indices[indices]
        self.source = source
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Tensor:
        return self.source[int(self.indices[index])]

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))

    def outside(self) -> list[int]:
        """Return no index: pictures that are not files are nowhere else; see `FileImages`."""
        found = getattr(self.source, "outside", list)()
        return np.flatnonzero(np.isin(self.indices, found)).tolist()

    def path(self, index: int) -> str:
        """Return the file, "" where pictures are not files."""
        path = getattr(self.source, "path", None)
        return path(int(self.indices[index])) if path else ""

    def find(self, index: int) -> str:
        """Return the file, as `FileImages` does. Raises ValueError where pictures are not files."""
        if not hasattr(self.source, "find"):
            raise ValueError(f"{self.name(index)}: this picture is not a file")
        return self.source.find(int(self.indices[index]))


@dataclass(frozen=True, eq=False)
class Records:
    """One split of a data set.

    Attributes:
        name: what reports call it, e.g. "train".
        source: the file it came from, or "shapes".
        class_names: K names, in the order of the labels.
        category_ids: int64 (K,), the ids that the file uses for the labels 0..K-1.
        image_ids: int64 (N,).
        heights, widths: int32 (N,), pixels.
        offsets: int64 (N + 1,), the objects of image i are `offsets[i]:offsets[i + 1]`.
        xywh: float64 (M, 4), left, top, width, height in pixels, exactly as in the file.
        labels: int32 (M,) in 0..K-1.
        areas: float64 (M,), pixels (of the mask where the file has one): COCO's small, medium and large go by it.
        crowd: bool (M,), never trained on, and ignored by the evaluation.
        annotation_ids: int64 (M,).
        images: `images[i]` is the picture of image i, uint8 RGB (3, H, W).
        image_keys: N ids as the file writes them, where they are text and `image_ids` are numbers that stand for them;
            else None. category_keys: the same of the K categories. Files of results are written with these.
        supercategories: {class name: what the file groups it under}, of classes of which it says so.
    """

    name: str
    source: str
    class_names: tuple[str, ...]
    category_ids: np.ndarray
    image_ids: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    offsets: np.ndarray
    xywh: np.ndarray
    labels: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    annotation_ids: np.ndarray
    images: ImageSource
    image_keys: tuple | None = None
    category_keys: tuple | None = None
    supercategories: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "class_names", tuple(self.class_names))
        for name, dtype in _ARRAYS.items():
            view = np.ascontiguousarray(getattr(self, name), dtype=dtype).view()
            view.flags.writeable = False  # of the view only: the caller's own array stays as it was
            object.__setattr__(self, name, view)
        n, m, k = len(self.image_ids), len(self.labels), len(self.class_names)
        assert self.offsets.shape == (n + 1,) and self.offsets[0] == 0 and self.offsets[-1] == m, self.offsets.shape
        assert self.heights.shape == self.widths.shape == (n,), (n, self.heights.shape, self.widths.shape)
        assert self.xywh.shape == (m, 4), (m, self.xywh.shape)
        assert self.areas.shape == self.crowd.shape == self.annotation_ids.shape == (m,), m
        assert self.category_ids.shape == (k,), (k, self.category_ids.shape)
        assert len(self.images) == n, (n, len(self.images))

    def __len__(self) -> int:
        return len(self.image_ids)

    def __repr__(self) -> str:
        return (
            f"Records({self.name!r}, {len(self)} images, {self.num_objects} objects, {self.num_classes} classes, "
            f"source={self.source!r})"
        )

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def num_objects(self) -> int:
        """M, crowd included."""
        return len(self.labels)

    @property
    def num_empty(self) -> int:
        """Images without any object to learn from (none at all, or only crowd)."""
        return int((np.bincount(self.object_image[~self.crowd], minlength=len(self)) == 0).sum())

    @cached_property
    def object_image(self) -> np.ndarray:
        """int64 (M,): the index (not the id) of the image that each object is in."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def target(self, index: int) -> dict[str, Tensor]:
        """Return what a detector is to find in image `index`: crowd left out, boxes clipped to the image, empty ones
        dropped.

        Returns:
            {"boxes": float32 (m, 4) XYXY in pixels of the stored image, "labels": int64 (m,)}.
        """
        begin, end = self.offsets[index], self.offsets[index + 1]
        boxes = self.xywh[begin:end].copy()
        boxes[:, 2:] += boxes[:, :2]
        np.clip(boxes[:, 0::2], 0, self.widths[index], out=boxes[:, 0::2])
        np.clip(boxes[:, 1::2], 0, self.heights[index], out=boxes[:, 1::2])
        boxes = boxes.astype(np.float32)  # before the test below: a sliver may vanish only here
        # A comparison with NaN is false, so that a box of NaN is dropped too.
        keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & ~self.crowd[begin:end]
        labels = self.labels[begin:end][keep].astype(np.int64)
        return {"boxes": torch.from_numpy(boxes[keep]), "labels": torch.from_numpy(labels)}

    @cached_property
    def keys(self) -> IdKeys | None:
        """The ids as the file writes them, None where they are whole numbers."""
        if self.image_keys is None and self.category_keys is None:
            return None
        images = dict(zip(self.image_ids.tolist(), self.image_keys or self.image_ids.tolist(), strict=True))
        ids = self.category_ids.tolist()
        return IdKeys(images, dict(zip(ids, self.category_keys or ids, strict=True)))

    def class_counts(self) -> np.ndarray:
        """Return int64 (K,): boxes of each class, crowd left out."""
        return np.bincount(self.labels[~self.crowd], minlength=self.num_classes).astype(np.int64)

    def image_counts(self) -> np.ndarray:
        """Return int64 (K,): images that hold each class, crowd left out."""
        keep = ~self.crowd
        pairs = np.unique(self.object_image[keep] * self.num_classes + self.labels[keep])
        return np.bincount(pairs % max(self.num_classes, 1), minlength=self.num_classes).astype(np.int64)

    def subset(self, indices) -> Records:
        """Return the images of these indices, in this order; an index may occur more than once.

        Raises:
            ValueError: an index outside 0..N-1.
        """
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        wrong = indices[(indices < 0) | (indices >= len(self))]
        if len(wrong):
            raise ValueError(f"{self.name}: image index {wrong[0]} is outside 0..{len(self) - 1}")
        counts = np.diff(self.offsets)[indices]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        objects = np.repeat(self.offsets[indices] - offsets[:-1], counts) + np.arange(offsets[-1])
        per_image = {name: getattr(self, name)[indices] for name in ("image_ids", "heights", "widths")}
        names = ("xywh", "labels", "areas", "crowd", "annotation_ids")
        per_object = {name: getattr(self, name)[objects] for name in names}
        images = SubsetImages(self.images, indices)
        keys = self.image_keys and tuple(self.image_keys[i] for i in indices)
        return replace(self, offsets=offsets, images=images, image_keys=keys, **per_image, **per_object)

    def to_coco(self) -> dict:
        """Return COCO ground truth as plain Python objects, with the file's ids of images and categories and exact
        boxes.

        Annotation ids are the file's where they are unique and positive, else 1..M: COCO evaluators count an object of
        id 0 as missed even when it is found, and merge objects of one id.

        Raises:
            ValueError: an image occurs twice (records after over-sampling), which no evaluator counts rightly.
        """
        unique, counts = np.unique(self.image_ids, return_counts=True)
        if (counts > 1).any():
            raise ValueError(
                f"{self.name}: image id {unique[counts > 1][0]} occurs {counts.max()} times. Evaluate on the records "
                "before they were over-sampled"
            )
        ids = self.annotation_ids
        if len(ids) and (ids.min() < 1 or len(np.unique(ids)) < len(ids)):
            ids = np.arange(1, len(ids) + 1)
        image_ids = self.image_keys or self.image_ids.tolist()
        category_ids = self.category_keys or self.category_ids.tolist()
        sizes = zip(image_ids, self.heights.tolist(), self.widths.tolist(), strict=True)
        images = [
            {"id": image_id, "file_name": self.images.name(i), "height": height, "width": width}
            for i, (image_id, height, width) in enumerate(sizes)
        ]
        columns = zip(
            ids.tolist(),
            [image_ids[i] for i in self.object_image.tolist()],
            [category_ids[i] for i in self.labels.tolist()],
            self.xywh.tolist(),
            self.areas.tolist(),
            self.crowd.astype(int).tolist(),
            strict=True,
        )
        keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
        annotations = [dict(zip(keys, values, strict=True)) for values in columns]
        named = zip(category_ids, self.class_names, strict=True)
        group = {name: {"supercategory": text} for name, text in self.supercategories.items()}
        categories = [{"id": category_id, "name": name, **group.get(name, {})} for category_id, name in named]
        return {"images": images, "annotations": annotations, "categories": categories}

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with any array, class name or picture name (not with the folder)."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name in _ARRAYS:
            array = getattr(self, name)
            digest.update(f"{name} {array.shape} ".encode())
            digest.update(array.tobytes())
        names = [self.images.name(i) for i in range(len(self))]
        digest.update("\0".join([*self.class_names, "", *names]).encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]
