"""Section 4, place: where in the pictures objects lie, for all and for each class.

The fractal dimension is that of `imbdet.data.places`.

Letters: M objects, K classes, n objects of a class.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.places import fractal_dimension, relative
from ..data.records import Records
from .structures import Missing

GRID = 16  #: cells a side of a heat map
COARSE = 8  #: cells a side for the divergence, which few objects fill
BORDER = 0.01  #: of the side; a box that comes nearer touches the border
ENOUGH = 50  #: boxes of a class whose dimension is more than noise
DRAWS = 100  #: uniform sets that the divergence is compared with


def diagnose_place(splits: dict[str, Records]) -> dict[str, Any]:
    """Return heat maps (rows are y, columns are x), closeness to the border, fractal dimension, divergence from
    uniform.

    Raises:
        Missing: no object in a picture whose size is known.
    """
    name, train = next(iter(splits.items()))
    images = train.object_image
    keep = ~train.crowd & (train.widths[images] > 0) & (train.heights[images] > 0)
    if not keep.any():
        raise Missing(f"No box of {name} lies in a picture whose width and height are known")
    centers, border = relative(train, keep)
    labels, k = train.labels[keep], train.num_classes
    dimension = fractal_dimension(centers, labels, k)
    maps = _maps(centers, labels, k, GRID)
    rng = np.random.default_rng(0)
    rows = []
    for label in np.unique(labels):
        mine = labels == label
        rows.append(
            {
                "name": train.class_names[label],
                "boxes": int(mine.sum()),
                "touches_border": float((border[mine] < BORDER).mean()),
                "border_distance": float(np.median(border[mine])),
                "fractal_dimension": float(dimension[label]),
                **divergence(centers[mine], rng),
                "heat_map": maps[label].tolist(),
            }
        )
    known = [row["fractal_dimension"] for row in rows if row["boxes"] >= ENOUGH]
    return {
        "split": name,
        "heat_map": maps.sum(axis=0).tolist(),
        "touches_border": float((border < BORDER).mean()),
        "mean_fractal_dimension": float(np.mean([row["fractal_dimension"] for row in rows])),
        "known_fractal_dimension": float(np.mean(known)) if known else None,
        **divergence(centers, rng),
        "rows": sorted(rows, key=lambda row: -row["boxes"]),
    }


def divergence(centers: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """Return how far centers are from evenly spread.

    Returns:
        {"divergence": Kullback-Leibler divergence from uniform over COARSE x COARSE cells, bits (at most 6);
        "divergence_by_chance": its mean for as many evenly spread centers, which is large where there are few}.
    """
    cells, n = COARSE * COARSE, len(centers)
    counts = _maps(centers, np.zeros(n, dtype=np.int64), 1, COARSE).reshape(1, cells)
    chance = rng.multinomial(n, np.full(cells, 1 / cells), size=DRAWS)
    return {"divergence": float(_bits(counts)[0]), "divergence_by_chance": float(_bits(chance).mean())}


def _bits(counts: np.ndarray) -> np.ndarray:
    """(B, cells) counts -> (B,) divergence from uniform."""
    share = counts / counts.sum(axis=1, keepdims=True)
    logs = np.log2(share * counts.shape[1], out=np.zeros_like(share), where=share > 0)
    return (share * logs).sum(axis=1)


def _maps(centers: np.ndarray, labels: np.ndarray, num_classes: int, grid: int) -> np.ndarray:
    """int64 (K, grid, grid), rows y and columns x."""
    cell = np.minimum((centers * grid).astype(np.int64), grid - 1)
    index = (labels.astype(np.int64) * grid + cell[:, 1]) * grid + cell[:, 0]
    return np.bincount(index, minlength=num_classes * grid * grid).reshape(num_classes, grid, grid)
