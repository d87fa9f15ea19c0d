"""COCO JSON, read for size: 118k images and 860k boxes in about a second, into a dozen flat arrays.

Notable: msgspec decodes into typed structs that hold only what a detector needs (segmentations are skipped unparsed),
the garbage collector is off meanwhile, and every message says which file, which place and what would be right. A file
that the structs refuse is read once more as plain objects, in which text ids and masks without boxes are understood
(`coco_plain.py`). What is wrong with single boxes (outside, zero size) is not decided here: `imbdet.data.checks` lists
all of it in one run.
"""

from __future__ import annotations

import gc
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from imbdet.data.datasets.cache import cached, signature
from imbdet.data.datasets.classes import align_classes, listed
from imbdet.data.datasets.coco_plain import ORIGINAL, parse_json, understand
from imbdet.data.datasets.layout import find_image_folder, guess_image_folder
from imbdet.data.images import FileImages
from imbdet.data.records import Records

_MORE = "`imbdet check_data` lists everything that is wrong in this file"
_TABLE = 10_000_000  # largest distance between ids that are looked up in a table
# What a message says is right, by the name of the key.
_RIGHT = {
    "id": "a whole number, unique in its list",
    "image_id": "the `id` of one of the images, a whole number",
    "category_id": "the `id` of one of the categories, a whole number",
    "bbox": "[left, top, width, height] in pixels, four numbers",
    "area": "a number, square pixels",
    "iscrowd": "0 or 1",
    "file_name": "the picture's file name",
    "width": "the picture's width in pixels",
    "height": "the picture's height in pixels",
    "name": "the name of the class",
    "images": "a list of {id, file_name, width, height}",
    "annotations": "a list of {id, image_id, category_id, bbox, area, iscrowd}",
    "categories": "a list of {id, name}",
}


class _Image(Struct, gc=False):
    id: int
    height: float
    width: float
    file_name: str = ""
    coco_url: str | None = ""  # LVIS has this instead of a file name
    original: int | float | str | None = msgspec.field(default=None, name=ORIGINAL)


class _Annotation(Struct, gc=False):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: int | bool | None = 0


class _Category(Struct, gc=False):
    id: int
    name: str
    supercategory: Any = None
    original: int | float | str | None = msgspec.field(default=None, name=ORIGINAL)


class _File(Struct, gc=False):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class _CategoriesOnly(Struct, gc=False):
    categories: list[_Category]


def load_coco(
    annotations: str,
    images: str | Sequence[str] | None = None,
    keep_empty: bool = True,
    name: str = "",
    classes: Sequence[str] | None = None,
) -> Records:
    """Read a COCO JSON file.

    Args:
        annotations: the file. A missing `iscrowd` is 0, a missing `area` is width * height of the box, a missing `bbox`
            is the box around `segmentation`. Ids may be text (see `coco_plain.understand`).
        images: the folder of the pictures; or several, of which the one that has them is taken; None looks for them
            around the file.
        keep_empty: keep images without objects (`records.num_empty` counts them); False drops them, as detectron2 does.
        name: what reports call this split; default: the file's name without its ending.
        classes: names in the order that labels shall count in, matched by name; default: the file's own, by id.

    Returns:
        Records, the same object for the same file and options.

    Raises:
        FileNotFoundError: no such file, or no such picture folder.
        ValueError: the file cannot be understood, or its parts do not fit together: ids that occur twice, boxes of
            unknown images or categories, no image, no category, boxes of classes that are not in `classes`.
    """
    path = os.path.expanduser(os.fspath(annotations))
    if isinstance(images, (str, os.PathLike)):
        images = os.path.expanduser(os.fspath(images))
        if not os.path.isdir(images):
            raise FileNotFoundError(f"{images}: no such folder of pictures (for {path})")
    folders = images if images is None or isinstance(images, str) else tuple(images)
    classes = None if classes is None else tuple(classes)
    try:
        key = ("coco", signature([path]), folders, os.getcwd(), keep_empty, name, classes)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such annotation file") from None
    return cached(key, lambda: _load(path, folders, keep_empty, name, classes))


@contextmanager
def collector_off() -> Iterator[None]:
    """Switch garbage collection off: a million new objects would otherwise be walked through again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_class_names(annotations: str) -> tuple[str, ...]:
    """Return the class names of a COCO JSON file in the order of their ids, without building the rest."""
    return cached(("coco classes", signature([annotations])), lambda: _categories(annotations)[1])


def records_from_coco(
    coco: dict,
    source: str,
    images: str,
    keep_empty: bool = True,
    name: str = "",
    classes: Sequence[str] | None = None,
) -> Records:
    """Return Records from COCO ground truth that is in memory already; errors and options as of `load_coco`."""
    return _build(_typed(coco, _File, source), source, images, keep_empty, name, classes)


def _load(path: str, images: str | tuple[str, ...] | None, keep_empty: bool, name: str, classes) -> Records:
    with collector_off():
        content = _decode(path, _File)
        name = name or os.path.splitext(os.path.basename(path))[0]
        return _build(content, path, images, keep_empty, name, classes)


def _categories(path: str) -> tuple[list[int], tuple[str, ...]]:
    return _ordered_categories(_decode(path, _CategoriesOnly).categories, path)


def _decode(path: str, kind: type):
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise ValueError(f"{path}: the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:  # a tenth faster than read()
                try:
                    return msgspec.json.decode(data, type=kind)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    return _typed(parse_json(data[:], path)[0], kind, path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None


def _typed(coco, kind: type, source: str):
    """Plain objects as rows of `kind`, their dialect understood. Raises ValueError naming the first wrong place."""
    try:
        return msgspec.convert(understand(coco), kind)
    except msgspec.ValidationError as error:
        raise ValueError(_explain(source, error)) from None
    except OverflowError:
        raise ValueError(f"{source}: a number is too large. {_MORE}") from None


def _build(
    content: _File, source: str, images: str | tuple[str, ...] | None, keep_empty: bool, name: str, classes
) -> Records:
    if not content.images:
        raise ValueError(f"{source}: $.images is empty: a data set needs at least one image")
    category_ids, class_names = _ordered_categories(content.categories, source)
    image_ids = _column(content.images, "id", np.int64, source)
    _refuse_repeats(image_ids, source, "images")
    rows = content.annotations
    image_index = _positions(image_ids, _column(rows, "image_id", np.int64, source), source, "image_id", "image")
    categories = np.array(category_ids, dtype=np.int64)
    wanted = _column(rows, "category_id", np.int64, source)
    labels = _positions(categories, wanted, source, "category_id", "category")
    boxes = chain.from_iterable(map(attrgetter("bbox"), rows))
    xywh = np.fromiter(boxes, dtype=np.float64, count=4 * len(rows)).reshape(-1, 4)
    areas = _column(rows, "area", np.float64, source)
    with np.errstate(all="ignore"):
        np.copyto(areas, xywh[:, 2] * xywh[:, 3], where=np.isnan(areas))
    # A stable argsort by image; sorting numbers that hold both image and place is 8 times faster than argsort.
    order = np.sort(image_index * np.int64(len(rows)) + np.arange(len(rows))) % max(len(rows), 1)
    per_image = np.bincount(image_index, minlength=len(image_ids))
    heights, widths = (_sizes(content.images, field, source) for field in ("height", "width"))
    names = [image.file_name or _file_name(image, source, i) for i, image in enumerate(content.images)]
    if os.sep == "/" and any("\\" in name for name in names):  # written on Windows
        names = [name.replace("\\", "/") for name in names]
    records = Records(
        name=name,
        source=source,
        class_names=class_names,
        category_ids=categories,
        image_ids=image_ids,
        heights=heights,
        widths=widths,
        offsets=np.concatenate([[0], np.cumsum(per_image)]),
        xywh=xywh[order],
        labels=labels[order],
        areas=areas[order],
        crowd=_column(rows, "iscrowd", np.bool_, source)[order],
        annotation_ids=_column(rows, "id", np.int64, source)[order],
        images=FileImages(_image_folder(source, names, images), names, image_ids, heights, widths),
        image_keys=_originals(content.images),
        category_keys=_originals(sorted(content.categories, key=attrgetter("id"))),
        supercategories={c.name: c.supercategory for c in content.categories if isinstance(c.supercategory, str)},
    )
    if classes is not None:
        records = align_classes(records, classes)
    if not keep_empty:
        learnable = np.bincount(records.object_image[~records.crowd], minlength=len(records))
        records = records.subset(np.flatnonzero(learnable))
    return records


def _image_folder(source: str, names: list[str], images: str | tuple[str, ...] | None) -> str:
    if images is None:
        return guess_image_folder(source, names)
    if isinstance(images, str):
        return images
    folder = find_image_folder(names, images)
    if folder is None:
        raise FileNotFoundError(
            f"{source}: none of its pictures was found (e.g. {names[0]!r}). Looked in: {', '.join(images)}. Move them "
            "to one of these folders, or name both: load_coco(annotations=..., images=...)"
        )
    return folder


def _column(rows: list, field: str, dtype, source: str) -> np.ndarray:
    """One field of every row; a missing number (None) becomes NaN where `dtype` has one."""
    try:
        return np.fromiter(map(attrgetter(field), rows), dtype=dtype, count=len(rows))
    except TypeError:  # a None, which fromiter does not take
        return np.array([getattr(row, field) for row in rows], dtype=dtype)
    except OverflowError:
        i, value = next((i, v) for i, v in enumerate(map(attrgetter(field), rows)) if not -(2**63) <= v < 2**63)
        raise ValueError(f"{source}: {field} {value} (number {i} of its list) is beyond 64 bits. {_MORE}") from None


def _sizes(images: list[_Image], field: str, source: str) -> np.ndarray:
    """int32 (N,) of `width` or `height`."""
    sizes = _column(images, field, np.float64, source)
    wrong = np.flatnonzero(~(np.abs(sizes) < 2**31))  # NaN too
    if len(wrong):
        raise ValueError(
            f"{source}: $.images[{wrong[0]}].{field} is {sizes[wrong[0]]:g}. Expected: {_RIGHT[field]}. {_MORE}"
        )
    return sizes.astype(np.int32)


def _originals(rows: list) -> tuple | None:
    """The ids as the file writes them; None where they are whole numbers anyway."""
    if not any(type(row.original) in (str, float) for row in rows):
        return None
    return tuple(row.id if row.original is None else row.original for row in rows)


def _ordered_categories(categories: list[_Category], source: str) -> tuple[list[int], tuple[str, ...]]:
    if not categories:
        raise ValueError(f"{source}: $.categories is empty: a data set needs at least one class, {{id, name}}")
    ordered = sorted(categories, key=lambda category: category.id)
    ids, names = [c.id for c in ordered], tuple(c.name for c in ordered)
    _refuse_repeats(_column(ordered, "id", np.int64, source), source, "categories")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{source}: $.categories: several categories are called {listed(repeated)}. Classes are told apart by "
            "name; `imbdet check_data --fix` merges them"
        )
    return ids, names


def _refuse_repeats(ids: np.ndarray, source: str, key: str) -> None:
    unique, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if (counts > 1).any():
        which = np.flatnonzero(counts > 1)[0]
        places = np.flatnonzero(ids == unique[which])[:2]
        raise ValueError(
            f"{source}: $.{key}[{places[1]}].id is {unique[which]}, as is $.{key}[{places[0]}].id: "
            f"ids of {key} must be unique"
        )


def _positions(known: np.ndarray, wanted: np.ndarray, source: str, key: str, what: str) -> np.ndarray:
    """Where each wanted id stands in `known`; an id that is not there is an error."""
    low = known.min()
    spread = int(known.max()) - int(low)
    if spread < _TABLE:  # 20 times faster than searching, for ids that are not far apart
        table = np.zeros(spread + 1, dtype=np.int32)
        table[known - low] = np.arange(len(known))
        found = table[np.clip(wanted, low, low + spread) - low]
    else:
        order = np.argsort(known, kind="stable")
        found = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)]
    wrong = np.flatnonzero(known[found] != wanted)
    if len(wrong):
        raise ValueError(
            f"{source}: $.annotations[{wrong[0]}].{key} is {wanted[wrong[0]]}: no {what} has this id "
            f"({len(wrong)} such annotations). `imbdet check_data` lists all of them; --fix with --drop drops them"
        )
    return found


def _file_name(image: _Image, source: str, index: int) -> str:
    """For an image without `file_name`. LVIS has a URL in its place: .../train2017/000000391895.jpg."""
    if not image.coco_url:
        raise ValueError(f"{source}: $.images[{index}] lacks `file_name`: {_RIGHT['file_name']}")
    return "/".join(image.coco_url.split("/")[-2:])


def _explain(path: str, error: msgspec.ValidationError) -> str:
    """msgspec's message, with the file, the place and what would be right."""
    what, _, place = str(error).partition(" - at `")
    place = place.rstrip("`") or "$"
    key = (re.findall(r"missing required field `(\w+)`", what) or re.findall(r"\.(\w+)[^.]*$", place) or [""])[0]
    if place == "$" and what == "Expected `object`, got `array`":
        what += " (a list is what a file of detection results holds; annotations are {images, annotations, ...})"
    right = f". Expected: {_RIGHT[key]}" if key in _RIGHT else ""
    return f"{path}: {place}: {what}{right}. {_MORE}"
