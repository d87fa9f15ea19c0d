"""Section 3, size and shape: how large objects are after the resize that will be trained with, and which are odd.

Notable: sizes after a resize are asked of the resize itself, on pictures without content, once for each size of picture
in the data: whatever the config's `dataloader.val.resize` does, its numbers are the ones shown.

Letters: N images, M objects, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..data.augment import ResizeShortestEdge
from ..data.records import Records
from ..data.statistics import MEDIUM, SMALL
from .structures import Missing

AREAS = (1, 4, 9, 16, 64)  #: square pixels; below them an object has no pixels to be seen by
SHORT_EDGES = (320, 416, 512, 640, 800, 1024)  #: further resizes, the longer side at most 1.67 times that (detectron2)
LONGEST = 1333 / 800
WHISKERS = (1.5, 2.5)  #: interquartile ranges outside the quartiles from which a value is odd, and very odd
SHOWN = 12  #: outliers
PERCENTILES = (5, 25, 50, 75, 95)

UNCHANGED = "without a resize"  #: name of the sizes where no config says how pictures are resized


def diagnose_size(
    splits: dict[str, Records], resize: Callable | None = None, stride: int | None = None, configured: bool = False
) -> dict[str, Any]:
    """Sizes per class, shares below AREAS and below the finest stride after several resizes, and outliers.

    Args:
        resize: the config's (None: pictures are used as they are). stride: of the finest level that has anchors or
            regions, pixels; None leaves the share below it out. configured: `resize` and `stride` are a config's.

    Raises:
        Missing: no object with an area.
    """
    train_name, train = next(iter(splits.items()))
    keep = usable(train)
    if not keep.any():
        raise Missing(f"No box of {train_name} has a width and a height, so there is no size to show")
    resizes = {"the config's own resize": resize} if configured else {UNCHANGED: None}
    resizes |= {f"short side {edge}": ResizeShortestEdge(edge, round(edge * LONGEST)) for edge in SHORT_EDGES}
    scaled = {name: sides(train, keep, change) for name, change in resizes.items()}
    first = next(iter(scaled.values()))
    return {
        "split": train_name,
        "stride": stride,
        "resizes": {name: _below(wh, stride) for name, wh in scaled.items()},
        "rows": _rows(train, keep, first, stride),
        "splits": {name: _of_split(part) for name, part in splits.items()},
        "side_histogram": _histogram(np.sqrt(first.prod(axis=1)), 2.0 ** np.arange(0, 11.01, 0.5)),
        "aspect_histogram": _histogram(first[:, 0] / first[:, 1], 2.0 ** np.arange(-4, 4.01, 0.5)),
        "outliers": outliers(train, keep),
    }


def usable(records: Records) -> np.ndarray:
    """bool (M,): no crowd region, and with a width and a height."""
    return ~records.crowd & (records.xywh[:, 2:] > 0).all(axis=1)


def scales(records: Records, resize: Callable | None) -> np.ndarray:
    """float64 (N, 2): factors of width and height that a resize gives each picture (ones for None).

    The resize is called with pictures on torch's meta device, which have a size and no content.
    """
    if resize is None:
        return np.ones((len(records), 2))
    sizes = np.stack([records.widths, records.heights], axis=1)
    unique, place = np.unique(sizes, axis=0, return_inverse=True)
    factors, rng = np.ones((len(unique), 2)), np.random.default_rng(0)
    for row, (width, height) in enumerate(unique.tolist()):
        if width > 0 and height > 0:
            blank = torch.empty(3, height, width, dtype=torch.uint8, device="meta")
            shape = resize(blank, {}, rng)[0].shape
            factors[row] = shape[2] / width, shape[1] / height
    return factors[place.reshape(-1)]


def sides(records: Records, keep: np.ndarray, resize: Callable | None) -> np.ndarray:
    """float64 (kept, 2): width and height in pixels of the resized picture."""
    return records.xywh[keep, 2:] * scales(records, resize)[records.object_image[keep]]


def outliers(records: Records, keep: np.ndarray) -> dict[str, Any]:
    """Objects whose area (as a share of the picture) or aspect is far from those of their class.

    Far is outside the class's quartiles by more than 1.5 (odd) or 2.5 (very odd) interquartile ranges of the logarithm,
    since sizes spread by factors; classes with fewer than 8 objects have no quartiles to speak of.

    Returns:
        {"whiskers", "rows": counts per class, "worst": the SHOWN farthest, each {"object", "image", "class", "what",
        "times"}}.
    """
    index = np.flatnonzero(keep)
    wh, image = records.xywh[index, 2:], records.object_image[index]
    pixels = np.maximum(records.widths[image].astype(float) * records.heights[image], 1)
    measures = {"area": np.log(wh.prod(axis=1) / pixels), "aspect": np.log(wh[:, 0] / wh[:, 1])}
    rows, found = [], []
    for k, name in enumerate(records.class_names):
        mine = np.flatnonzero(records.labels[index] == k)
        if len(mine) < 8:
            continue
        row: dict[str, Any] = {"name": name}
        for what, values in measures.items():
            beyond = distance(values[mine])
            row[what] = [int((beyond > limit).sum()) for limit in WHISKERS]
            found += [
                (beyond[i], int(index[mine[i]]), name, what) for i in np.argsort(-beyond)[:SHOWN] if beyond[i] > 0
            ]
        rows.append(row)
    found.sort(key=lambda row: -row[0])
    worst = [
        {"object": place, "image": int(records.object_image[place]), "class": name, "what": what, "times": float(times)}
        for times, place, name, what in found
        if times > WHISKERS[0]
    ]
    return {"whiskers": list(WHISKERS), "rows": rows, "worst": worst[:SHOWN]}


def distance(values: np.ndarray) -> np.ndarray:
    """How many interquartile ranges each value lies outside the quartiles, 0 inside; inf where the range is 0."""
    low, high = np.percentile(values, [25, 75])
    outside = np.maximum(np.maximum(low - values, values - high), 0)
    return np.divide(outside, high - low, out=np.where(outside > 1e-9, np.inf, 0.0), where=high > low)


def _below(wh: np.ndarray, stride: int | None) -> dict[str, Any]:
    area = wh.prod(axis=1)
    return {
        "below": {str(limit): float((area < limit).mean()) for limit in AREAS},
        "below_stride": None if stride is None else float((area < stride**2).mean()),
        "small": float((area < SMALL).mean()),
        "median_side": float(np.median(np.sqrt(area))),
    }


def _rows(records: Records, keep: np.ndarray, wh: np.ndarray, stride: int | None) -> list[dict[str, Any]]:
    """A row a class with objects, the smallest median first."""
    labels, rows = records.labels[keep], []
    for k, name in enumerate(records.class_names):
        mine = wh[labels == k]
        if not len(mine):
            continue
        side, aspect = np.sqrt(mine.prod(axis=1)), mine[:, 0] / mine[:, 1]
        rows.append(
            {
                "name": name,
                "boxes": len(mine),
                "side": np.percentile(side, PERCENTILES).tolist(),
                "aspect": np.percentile(aspect, PERCENTILES).tolist(),
                "small": float((side**2 < SMALL).mean()),
                "below_stride": None if stride is None else float((side < stride).mean()),
            }
        )
    return sorted(rows, key=lambda row: row["side"][2])


def _of_split(records: Records) -> dict[str, Any] | None:
    """Small, medium, large by the file's area in its own pixels, as COCO counts, and the percentiles of the side."""
    keep = usable(records)
    if not keep.any():
        return None
    area, wh = records.areas[keep], records.xywh[keep, 2:]
    return {
        "small": float((area < SMALL).mean()),
        "medium": float(((area >= SMALL) & (area < MEDIUM)).mean()),
        "large": float((area >= MEDIUM).mean()),
        "side": np.percentile(np.sqrt(wh.prod(axis=1)), PERCENTILES).tolist(),
        "aspect": np.percentile(wh[:, 0] / wh[:, 1], PERCENTILES).tolist(),
    }


def _histogram(values: np.ndarray, edges: np.ndarray) -> dict[str, list]:
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
