"""Ground truth for evaluators, in flat arrays, with what is odd about it put right or said.

Notable: evaluators treat the same odd file differently, mostly in silence: an annotation of id 0 counts as never
found, of two annotations with one id one is lost, a missing `area` makes every object small. So no evaluator here
sees a file: images, categories and annotations are numbered anew, 1, 2, 3 ... in the order of their ids, and the rest
is checked in this file. An evaluation of a clean file gives the same bits with and without it.

Letters: N images, M objects, K classes.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.datasets.coco_plain import whole
from ..data.records import IdKeys
from .coco_json import read_ground_truth


@dataclass
class GroundTruth:
    """One split's objects.

    Attributes:
        name: for messages: a file, or a split.
        class_names: K names, in the order of the labels; category_ids: int64 (K,).
        image_ids: int64 (N,), unique; widths, heights: float64 (N,), pixels, NaN where the file does not say.
        image: int64 (M,), index of each object's image; label: int64 (M,) in 0..K-1; xywh: float64 (M, 4), pixels;
        area: float64 (M,), pixels; crowd: bool (M,), regions whose detections are ignored.
        keys: the ids as the file writes them, where they are text.
        notes: what was put right without any effect on a number; warnings: what may make the numbers other than meant.
        left_out: {label: (boxes, images)} of classes that take no part, see `leave_out`.

    Raises:
        ValueError: an image id or category id twice, a box with NaN or a negative size.
    """

    name: str
    class_names: tuple[str, ...]
    category_ids: np.ndarray
    image_ids: np.ndarray
    widths: np.ndarray
    heights: np.ndarray
    image: np.ndarray
    label: np.ndarray
    xywh: np.ndarray
    area: np.ndarray
    crowd: np.ndarray
    keys: IdKeys | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self):
        for what, ids in (("image", self.image_ids), ("category", self.category_ids)):
            values, counts = np.unique(ids, return_counts=True)
            if (counts > 1).any():
                raise ValueError(
                    f"{self.name}: {what} id {values[counts > 1][0]} occurs {counts.max()} times; every {what} must "
                    "be there "
                    "once (evaluate on the records as they were before over-sampling)"
                )
        _check_boxes(self)
        _check_areas(self)

    def __len__(self) -> int:
        return len(self.image_ids)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def class_counts(self) -> np.ndarray:
        """Return int64 (K,): objects of each class, crowd left out."""
        return np.bincount(self.label[~self.crowd], minlength=self.num_classes)

    def image_counts(self) -> np.ndarray:
        """Return int64 (K,): images that hold the class, crowd left out."""
        pairs = np.unique(self.image[~self.crowd] * self.num_classes + self.label[~self.crowd])
        return np.bincount(pairs % max(self.num_classes, 1), minlength=self.num_classes)

    def leave_out(self, labels: np.ndarray) -> GroundTruth:
        """Return the same without the objects of these classes, which are then in no mean. Classes keep names and
        labels.
        """
        boxes, images = self.class_counts(), self.image_counts()
        keep = ~np.isin(self.label, labels)
        fields = {name: getattr(self, name)[keep] for name in ("image", "label", "xywh", "area", "crowd")}
        rest = replace(self, **fields, left_out={int(k): (int(boxes[k]), int(images[k])) for k in labels})
        rest.notes, rest.warnings = list(self.notes), list(self.warnings)
        return rest

    def to_coco(self) -> dict:
        """Return the COCO ground truth as plain objects, annotation ids 1..M."""
        images = [{"id": int(i), "file_name": str(i)} for i in self.image_ids]
        for image, width, height in zip(images, self.widths, self.heights, strict=True):
            if np.isfinite(width) and np.isfinite(height):
                image.update(width=int(width), height=int(height))
        columns = zip(
            self.image_ids[self.image].tolist(),
            self.category_ids[self.label].tolist(),
            self.xywh.tolist(),
            self.area.tolist(),
            self.crowd.astype(int).tolist(),
            strict=True,
        )
        annotations = [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": crowd}
            for i, (image, category, box, area, crowd) in enumerate(columns, start=1)
        ]
        named = zip(self.category_ids.tolist(), self.class_names, strict=True)
        return {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": category, "name": name} for category, name in named],
        }


def as_ground_truth(source: Any) -> GroundTruth:
    """Convert records, a COCO file, the dict of one, or a GroundTruth (returned as it is) -> GroundTruth.

    Raises:
        ValueError: what is wrong with it, with file, row and value. FileNotFoundError: no such file.
    """
    if isinstance(source, GroundTruth):
        return source
    if isinstance(source, (str, Path, dict)):
        return _from_coco(source)
    if hasattr(source, "offsets"):
        return _from_records(source)
    raise ValueError(f"ground truth must be Records, a COCO file or its dict, not {type(source).__name__}")


def _from_records(records: Any) -> GroundTruth:
    return GroundTruth(
        name=f"{records.name} ({records.source})",
        class_names=tuple(records.class_names),
        category_ids=np.asarray(records.category_ids, dtype=np.int64),
        image_ids=np.asarray(records.image_ids, dtype=np.int64),
        widths=np.asarray(records.widths, dtype=np.float64),
        heights=np.asarray(records.heights, dtype=np.float64),
        image=np.repeat(np.arange(len(records)), np.diff(records.offsets)),
        label=np.asarray(records.labels, dtype=np.int64),
        xywh=np.asarray(records.xywh, dtype=np.float64),
        area=np.asarray(records.areas, dtype=np.float64).copy(),
        crowd=np.asarray(records.crowd, dtype=bool),
        keys=getattr(records, "keys", None),
    )


def _from_coco(source: str | Path | dict) -> GroundTruth:
    file, name = read_ground_truth(source)
    image_ids = whole_numbers([i.id for i in file.images], f"{name}: images[{{}}].id")
    category_ids = whole_numbers([c.id for c in file.categories], f"{name}: categories[{{}}].id")
    rows = file.annotations
    image = positions(image_ids, whole_numbers([a.image_id for a in rows], f"{name}: annotations[{{}}].image_id"))
    categories = whole_numbers([a.category_id for a in rows], f"{name}: annotations[{{}}].category_id")
    label = positions(category_ids, categories)
    notes, warnings = _odd_rows(rows)
    for what, index in (("image_id", image), ("category_id", label)):
        if (index < 0).any():
            first = int(np.argmax(index < 0))
            warnings.append(
                f"{int((index < 0).sum())} annotations left out: their {what} is not in the file "
                f"(first: annotations[{first}].{what} = {getattr(rows[first], what)})"
            )
    known = np.flatnonzero((image >= 0) & (label >= 0))
    rows = [rows[i] for i in known] if len(known) < len(rows) else rows
    return GroundTruth(
        name=name,
        class_names=tuple(c.name if c.name is not None else str(c.id) for c in file.categories),
        category_ids=category_ids,
        image_ids=image_ids,
        widths=np.array([_size(i.width) for i in file.images], dtype=np.float64),
        heights=np.array([_size(i.height) for i in file.images], dtype=np.float64),
        image=image[known],
        label=label[known],
        xywh=np.array([a.bbox for a in rows], dtype=np.float64).reshape(-1, 4),
        area=np.array([np.nan if a.area is None else a.area for a in rows], dtype=np.float64),
        crowd=np.array([bool(a.iscrowd) for a in rows], dtype=bool),
        keys=_keys(file),
        notes=notes,
        warnings=warnings,
    )


def _size(value: int | float | None) -> float:
    """Of an image; NaN where the file does not say, or says what is no size of a picture."""
    return float(value) if value is not None and 0 < value < 2**31 else np.nan


def _keys(file: Any) -> IdKeys | None:
    images, categories = ({int(row.id): row.original for row in rows} for rows in (file.images, file.categories))
    if set(images.values()) | set(categories.values()) == {None}:
        return None
    named = ({i: i if key is None else key for i, key in part.items()} for part in (images, categories))
    return IdKeys(*named)


def _odd_rows(rows: list) -> tuple[list[str], list[str]]:
    """Notes and warnings about the ids and flags of a file's annotations."""
    notes, warnings = [], []
    ids = [a.id for a in rows]
    missing, zero = ids.count(None), sum(i == 0 for i in ids)
    repeated = len(ids) - missing - len(set(ids) - {None})
    if zero or missing or repeated:
        notes.append(
            f"annotation ids numbered anew: {zero} of 0, {missing} missing, {repeated} repeated "
            "(other evaluators miscount such objects in silence)"
        )
    if rows and all(a.iscrowd is None for a in rows):
        notes.append("no annotation has `iscrowd`: none is taken for a crowd")
    ignored = sum(bool(a.ignore) and not a.iscrowd for a in rows)
    if ignored:
        warnings.append(
            f"{ignored} annotations have `ignore: 1`; COCO's evaluation knows only `iscrowd`, so they count as "
            "objects to be "
            "found. Set `iscrowd: 1` to have detections on them ignored"
        )
    return notes, warnings


def _check_boxes(truth: GroundTruth) -> None:
    """Raises ValueError on NaN and negative sizes; warns of empty boxes, which no detection can match."""
    bad = ~np.isfinite(truth.xywh).all(axis=1) | (truth.xywh[:, 2:] < 0).any(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(
            f"{truth.name}: object {first} (image id {truth.image_ids[truth.image[first]]}) has the box "
            f"{truth.xywh[first].tolist()}, and {int(bad.sum()) - 1} more are like it: x, y, width and height must be "
            "finite, "
            "width and height not negative (`imbdet check_data` lists them)"
        )
    empty = ~(truth.xywh[:, 2:] > 0).all(axis=1) & ~truth.crowd
    if empty.any():
        first = int(np.argmax(empty))
        truth.warnings.append(
            f"{int(empty.sum())} objects have an empty box and can never be found, which lowers recall and AP (first: "
            f"{truth.xywh[first].tolist()} in image id {truth.image_ids[truth.image[first]]})"
        )


def _check_areas(truth: GroundTruth) -> None:
    """Missing areas become width * height; impossible ones are kept, since the area decides small, medium, large, but
    said."""
    box_area = truth.xywh[:, 2] * truth.xywh[:, 3]
    missing = ~np.isfinite(truth.area)
    if missing.any():
        truth.area = np.where(missing, box_area, truth.area)
        truth.notes.append(f"{int(missing.sum())} annotations have no `area`: width * height of the box is used")
    # A mask fills at most its box (a pixel more on each side by rounding), and hardly ever less than a fiftieth of it.
    largest = (truth.xywh[:, 2] + 2) * (truth.xywh[:, 3] + 2)
    wrong = ((truth.area > largest) | (truth.area < 0.02 * box_area)) & ~truth.crowd
    if wrong.sum() > 0.01 * len(wrong):
        first = int(np.argmax(wrong))
        truth.warnings.append(
            f"{int(wrong.sum())} of {len(wrong)} objects have an `area` that does not fit their box (first: area "
            f"{truth.area[first]:g}, box {truth.xywh[first].tolist()}). APs, APm, APl, ARs, ARm and ARl go by `area`, "
            "so they are "
            "of little worth here; AP and the others are not touched"
        )


def whole_numbers(values: list, place: str, numbers: dict[str, int] | None = None) -> np.ndarray:
    """Return int64 of ids that a file may write as 12.0 or as text.

    numbers: {id as text: number}, where the ground truth's ids are text.

    Raises ValueError naming `place.format(index)` for 12.5, for text that is no id there, and beyond 64 bits.
    """
    if numbers is None and all(type(value) is int for value in values):
        with contextlib.suppress(OverflowError):
            return np.array(values, dtype=np.int64)
    found = [whole(value) if numbers is None else numbers.get(str(value), whole(value)) for value in values]
    for i, number in enumerate(found):
        if number is None:
            known = f"; the ground truth has {', '.join(list(numbers)[:5])} ..." if numbers else ""
            raise ValueError(f"{place.format(i)} is {values[i]!r}; ids must be whole numbers of 64 bits{known}")
    return np.array(found, dtype=np.int64)


def positions(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return index of each value in the unique ids `known`, -1 where it is not among them."""
    if not len(known):
        return np.full(len(values), -1)
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(known[order], values).clip(max=len(known) - 1)
    return np.where(known[order][place] == values, order[place], -1)
