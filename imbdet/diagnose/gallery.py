"""Pictures with boxes for the page, from the data's own files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..data.records import Records
from ..report.pictures import jpeg_uri
from .structures import Mark, Shown

MOST_BOXES = 60  #: drawn on one picture


def show(
    records: Records, image: int, caption: str, marked: dict[int, str], extra: Iterable[Mark] = ()
) -> Shown | None:
    """Return one picture with its objects, those in `marked` ({object index: words}) drawn as odd; None if it cannot be
    read.

    extra: further boxes, such as detections.
    """
    try:
        uri = jpeg_uri(records.images[image])
    except (OSError, ValueError, RuntimeError):
        return None
    marks = []
    inside = np.arange(records.offsets[image], records.offsets[image + 1])
    chosen = [i for i in inside if i in marked] + [i for i in inside if i not in marked][:MOST_BOXES]
    for index in chosen:
        x, y, w, h = records.xywh[index].tolist()
        name = records.class_names[records.labels[index]]
        odd = index in marked
        marks.append(Mark(x, y, w, h, marked.get(index, name), "odd" if odd else "object"))
    width, height = int(records.widths[image]), int(records.heights[image])
    return Shown(uri, width, height, caption, (*marks, *extra))


def show_outliers(records: Records, outliers: dict[str, Any]) -> list[Shown]:
    """Return the pictures of `size.outliers`, one an object."""
    shown = []
    for row in outliers["worst"]:
        times = "a class of one size" if np.isinf(row["times"]) else f"{row['times']:.1f} interquartile ranges"
        caption = f"{records.images.name(row['image'])}: {row['what']} of {row['class']}, {times} outside its quartiles"
        shown.append(show(records, row["image"], caption, {row["object"]: f"{row['class']}: {row['what']}"}))
    return [picture for picture in shown if picture]


def show_duplicates(splits: dict[str, Records], duplicates: dict[str, Any], most: int = 6) -> list[Shown]:
    """Return both pictures of the first pairs, leaks first."""
    shown = []
    for row in duplicates["pairs"][:most]:
        for (split, image, name), (other, _, twin) in ((row["a"], row["b"]), (row["b"], row["a"])):
            shown.append(show(splits[split], image, f"{split}: {name}, like {other}: {twin}", {}))
    return [picture for picture in shown if picture]


def show_unmatched(records: Records, worst: list[dict[str, Any]], most: int = 8) -> list[Shown]:
    """Return the pictures of the objects with the lowest IoU of their best anchor (`iou.diagnose_iou`), one picture
    once.
    """
    by_image: dict[int, dict[int, str]] = {}
    for row in worst:
        image = int(records.object_image[row["object"]])
        if image in by_image or len(by_image) < most:
            name = records.class_names[records.labels[row["object"]]]
            by_image.setdefault(image, {})[row["object"]] = f"{name} {row['iou']:.2f}"
    shown = [
        show(records, image, f"{records.images.name(image)}: IoU of the best anchor with each marked object", marked)
        for image, marked in by_image.items()
    ]
    return [picture for picture in shown if picture]


def show_suspicious(records: Records, labels: dict[str, Any], each: int = 4) -> list[Shown]:
    """Return the first pictures of each kind of `labels.suspicious_labels`."""
    shown, counts = [], dict.fromkeys(labels["counts"], 0)
    for row in labels["rows"]:
        counts[row["kind"]] += 1
        if counts[row["kind"]] > each:
            continue
        words = f"{row['kind']}: {row['label']} or {row['found']}?"
        caption = f"{row['name']}: {words}" + ("" if row["score"] is None else f" score {row['score']:.2f}")
        shown.append(show(records, row["image"], caption, {}, [Mark(*row["xywh"], words, "odd")]))
    return [picture for picture in shown if picture]
