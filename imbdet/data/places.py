"""Where objects lie in their pictures: centers in 0..1, and how evenly those of each class are spread.

Fractal dimension: the box-counting dimension of a class's centers over the unit square, as in FRACAL (Alexandridis et
al. 2025, arXiv 2410.11774): for grids of g = 1..64 cells a side with g^2 <= n, N_g cells hold a center, and the
dimension is the slope of log N_g over log g; 1 where n < 4 or the slope is below 1. 2 is spread evenly, 1 is a line.

Letters: M objects, K classes, n objects of a class.
"""

from __future__ import annotations

import numpy as np

from .records import Records

LARGEST_GRID = 64  #: of the fractal dimension


def class_dimensions(records: Records) -> list[float]:
    """Return the fractal dimension of each of the K classes, 1..2; crowd and pictures of unknown size left out.

    Of a run, whose records are counts alone, the data set that its config names is read.
    """
    if not isinstance(records, Records):
        records = records.records()
    images = records.object_image
    keep = ~records.crowd & (records.widths[images] > 0) & (records.heights[images] > 0)
    return fractal_dimension(relative(records, keep)[0], records.labels[keep], records.num_classes).tolist()


def relative(records: Records, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return centers (kept, 2) in 0..1 of width and height, and the least distance of a side of the box to the border,
    too.
    """
    size = np.stack([records.widths, records.heights], axis=1)[records.object_image[keep]].astype(float)
    low = records.xywh[keep, :2] / size
    high = low + records.xywh[keep, 2:] / size
    border = np.minimum(low, 1 - high).min(axis=1).clip(0, 1)
    return ((low + high) / 2).clip(0, 1), border


def fractal_dimension(centers: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Return float64 (K,): see above. centers (M, 2) in 0..1, labels (M,); what is not finite is nowhere."""
    somewhere = np.isfinite(centers).all(axis=1)
    centers, labels = centers[somewhere], labels[somewhere]
    counts = np.bincount(labels, minlength=num_classes)
    occupied = np.zeros((LARGEST_GRID, num_classes))
    for g in range(1, LARGEST_GRID + 1):
        cell = np.minimum((centers * g).astype(np.int64), g - 1)
        held = np.zeros(num_classes * g * g, dtype=bool)
        held[(labels.astype(np.int64) * g + cell[:, 1]) * g + cell[:, 0]] = True
        occupied[g - 1] = held.reshape(num_classes, -1).sum(axis=1)
    dimension = np.ones(num_classes)
    for label in np.flatnonzero(counts >= 4):
        largest = min(int(np.sqrt(counts[label])), LARGEST_GRID)
        x, y = np.log(np.arange(1, largest + 1)), np.log(occupied[:largest, label])
        dimension[label] = max(1.0, np.polyfit(x, y, 1)[0])
    return dimension
