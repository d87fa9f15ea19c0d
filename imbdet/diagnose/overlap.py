"""Section 7, overlap: objects that crowd each other, and boxes that are nearly the same.

Notable: pairs are made for all images at once, in blocks, without a loop over images.

Letters: M objects, P pairs of objects of one image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..data.records import Records
from ..evaluation.matching import overlaps
from .structures import Missing

SAME_BOX = 0.9  #: IoU from which two boxes are nearly equal
NMS = 0.5  #: IoU at which suppression within a class removes the second of two perfect detections
BLOCK = 2**21  #: pairs that are held at once
EDGES = np.linspace(0, 1, 11)


def diagnose_overlap(splits: dict[str, Records], nms: float = NMS) -> dict[str, Any]:
    """Return highest IoU of every object with another one of its image, of its class and of any; nearly equal boxes.

    Raises:
        Missing: no object at all.
    """
    result: dict[str, Any] = {"nms": nms, "same_box": SAME_BOX, "splits": {}}
    for name, records in splits.items():
        if (~records.crowd).any():
            result["splits"][name] = _of_split(records, nms)
    if not result["splits"]:
        raise Missing("No split has a box, so nothing overlaps")
    return result


def _of_split(records: Records, nms: float) -> dict[str, Any]:
    own, other, equal = crowding(records)
    keep = ~records.crowd
    either = np.maximum(own, other)[keep]
    own = own[keep]
    classes = np.bincount(records.labels[keep][own > nms], minlength=records.num_classes)
    counts = np.maximum(records.class_counts(), 1)
    return {
        "edges": EDGES.tolist(),
        "same_class": np.histogram(own, EDGES)[0].tolist(),
        "any_class": np.histogram(either, EDGES)[0].tolist(),
        "crowded": float((either > 0.3).mean()),
        "lost_to_nms": float((own > nms).mean()),
        "lost_to_nms_per_class": {
            records.class_names[k]: float(classes[k] / counts[k]) for k in np.argsort(-classes / counts) if classes[k]
        },
        "nearly_equal": {
            "same_class": int(equal["same"].sum()),
            "other_class": int((~equal["same"]).sum()),
            "pairs": [
                {"image": int(i), "a": int(a), "b": int(b), "iou": float(iou)}
                for i, a, b, iou in zip(equal["image"], equal["a"], equal["b"], equal["iou"], strict=True)
            ][:100],
        },
    }


def crowding(records: Records) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return float64 (M,) highest IoU with another object of the same class, (M,) of another class, and nearly equal
    pairs.

    The pairs are {"a", "b": object indices with a < b, "image", "iou", "same": bool, one class}. Crowd regions take no
    part.
    """
    m = records.num_objects
    own, other = np.zeros(m), np.zeros(m)
    columns: dict[str, list] = {"a": [], "b": [], "image": [], "iou": [], "same": []}
    for a, b in _pairs(records):
        iou = overlaps(records.xywh[a], records.xywh[b], np.zeros(len(a), dtype=bool))
        same = records.labels[a] == records.labels[b]
        for best, where in ((own, same), (other, ~same)):
            for side in (a, b):
                np.maximum.at(best, side[where], iou[where])
        near = iou >= SAME_BOX
        values = (a[near], b[near], records.object_image[a[near]], iou[near], same[near])
        for name, value in zip(columns, values, strict=True):
            columns[name].append(value)
    kinds = {"iou": np.float64, "same": bool}
    return own, other, {n: np.concatenate([*v, []]).astype(kinds.get(n, np.int64)) for n, v in columns.items()}


def _pairs(records: Records) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of object indices (P,), (P,) with a < b: every two objects of one image, crowd regions left out."""
    kept = np.flatnonzero(~records.crowd)
    image = records.object_image[kept]
    last = np.searchsorted(image, image, side="right")
    after = last - np.arange(len(kept)) - 1  # objects of the same image that come later
    ends = np.cumsum(after)
    begin = 0
    while begin < len(kept):
        done = ends[begin - 1] if begin else 0
        end = max(int(np.searchsorted(ends, done + BLOCK, side="right")), begin + 1)
        rows = np.arange(begin, end)
        a = np.repeat(rows, after[rows])
        b = a + 1 + np.arange(len(a)) - np.repeat(ends[rows] - after[rows] - done, after[rows])
        yield kept[a], kept[b]
        begin = end
