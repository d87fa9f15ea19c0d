"""Section 5, IoU: how well anchors fit objects, which objects none fits, and how the positives' IoU is spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.records import Records
from .anchors import Anchored, Sample, best_anchor_iou
from .size import usable

EDGES = np.linspace(0, 1, 21)
SHOWN = 8  #: pictures with objects that no anchor fits


def diagnose_iou(records: Records, sample: Sample, part: Anchored) -> dict[str, Any]:
    """Return best anchor of every object of the split; positives of the matched sample.

    `below` is the share of objects whose best anchor has less than the matcher's foreground IoU (None for matchers
    without one): they have a positive only where the matcher takes the best anchor whatever its IoU is.
    """
    keep = usable(records)
    index = np.flatnonzero(keep)
    best, level = best_anchor_iou(records, keep, part)
    threshold = getattr(part.criterion.matcher, "foreground", None)
    labels, names = records.labels[index], list(part.strides)
    rows = []
    for k in np.unique(labels):
        mine = best[labels == k]
        below = None if threshold is None else float((mine < threshold).mean())
        rows.append(
            {"name": records.class_names[k], "boxes": len(mine), "median": float(np.median(mine)), "below": below}
        )
    worst = index[np.argsort(best, kind="stable")]
    return {
        "split": records.name,
        "threshold": threshold,
        "edges": EDGES.tolist(),
        "best": np.histogram(best, EDGES)[0].tolist(),
        "mean_best": float(best.mean()),
        "below": None if threshold is None else float((best < threshold).mean()),
        "best_per_level": {name: int((level == i).sum()) for i, name in enumerate(names)},
        "rows": sorted(rows, key=lambda row: row["median"]),
        "positives": {
            name: np.histogram(sample.positives["iou"][sample.positives["level"] == i], EDGES)[0].tolist()
            for i, name in enumerate(names)
        },
        "images": len(sample.images),
        "objects": len(sample.objects),
        "unmatched": len(sample.unmatched),
        "worst": [{"object": int(i), "iou": float(b)} for i, b in zip(worst, np.sort(best), strict=True)][:100],
    }
