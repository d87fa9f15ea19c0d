"""Section 1, classes: how often each occurs in each split, how unequal they are, and which can be judged at all.

The half-width of a class's AP: with n objects in the test split, AP has a standard deviation of about SPREAD / sqrt(n)
from the choice of the test images alone, so that its 95 % interval is +-1.96 SPREAD / sqrt(n): 14 points with 20
objects, 6 with 100, 2 with 1000. SPREAD = 0.32 was fitted to resampled test sets of a detector with AP 34 (n = 5 to
1000); `tests/diagnose/test_classes.py` simulates others, whose spread goes from 0.2 (loose boxes) to 0.46 (tight ones),
below the binomial bound of 0.5 of a class that is found in every second case. A class whose half-width is more than
JUDGED cannot be judged: remedies differ by less.

Letters: N images, M objects, K classes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..data.records import Records
from ..data.statistics import frequency_groups, objects_per_image, takes_part
from .structures import Missing

SPREAD = 0.32  #: standard deviation of a class's AP times the square root of its test objects
JUDGED = 0.10  #: AP; a class with a wider half-width cannot be judged
FULL_MATRIX = 60  #: classes; with more, only the pairs of PAIRS are kept
PAIRS = 100


def diagnose_classes(splits: dict[str, Records]) -> dict[str, Any]:
    """Return counts, imbalance, objects per image, co-occurrence, and what can be judged; the first split is the
    training's.

    Raises:
        Missing: no split has a box.
    """
    train_name, train = next(iter(splits.items()))
    if not any(part.class_counts().sum() for part in splits.values()):
        raise Missing("No split has a box, so there is nothing to count. Check the annotations: imbdet check_data DATA")
    groups = frequency_groups(train)
    judge = next((name for name in ("test", "val") if name in splits), None)
    return {
        "train": train_name,
        "groups_rule": groups.rule,
        "judged_on": judge,
        "rows": _rows(splits, groups, judge),
        "imbalance": {name: imbalance(part.class_counts()) for name, part in splits.items()},
        "objects_per_image": {name: _per_image(part) for name, part in splits.items()},
        "co_occurrence": co_occurrence(train),
        "missing_in": {
            name: [train.class_names[k] for k in np.flatnonzero(~takes_part(part.class_counts()))]
            for name, part in splits.items()
        },
        "cannot_be_judged": _cannot_be_judged(splits, judge),
    }


def half_width(objects: float) -> float | None:
    """Return half of the 95 % interval that AP (0..1) will have with so many test objects; None without any."""
    return min(1.0, 1.96 * SPREAD / math.sqrt(objects)) if objects else None


def imbalance(counts: np.ndarray) -> dict[str, float | int | None]:
    """Return how unequal counts (K,) are. Classes without any box take no part: they are absent, not rare.

    ratio: largest over smallest count. gini: 0 for equal classes, towards 1 for one that has everything. entropy: of
    the shares, in bits. effective_classes: 2**entropy, the number of equal classes of that entropy. largest_share.
    """
    counts = np.asarray(counts, dtype=np.float64)
    present = np.sort(counts[takes_part(counts)])
    n = len(present)
    if n == 0:
        return {"classes": 0, **dict.fromkeys(("ratio", "gini", "entropy", "effective_classes", "largest_share"))}
    share = present / present.sum()
    entropy = float(-(share * np.log2(share)).sum()) + 0.0
    return {
        "classes": n,
        "ratio": float(present[-1] / present[0]),
        "gini": float((2 * np.arange(1, n + 1) - n - 1) @ share / n),
        "entropy": entropy,
        "effective_classes": float(2**entropy),
        "largest_share": float(share[-1]),
    }


def co_occurrence(records: Records) -> dict[str, Any]:
    """Return images that hold both classes of each pair.

    Returns:
        {"pairs": the PAIRS most common ones as {"a", "b", "images", "share_of_a", "share_of_b", "lift"}, where lift is
        images of both over what independent classes would have; "matrix": (K, K) images of both, the diagonal of one,
        or None with more than FULL_MATRIX classes; "rare_only_with_frequent": see below}.
    """
    k = records.num_classes
    matrix = _together(records)
    images = np.diag(matrix)
    upper = np.triu(matrix, 1)
    order = np.argsort(-upper, axis=None, kind="stable")[:PAIRS]
    pairs = []
    for a, b in zip(*np.unravel_index(order, (k, k)), strict=True):
        if upper[a, b]:
            both = int(upper[a, b])
            pairs.append(
                {
                    "a": records.class_names[a],
                    "b": records.class_names[b],
                    "images": both,
                    "share_of_a": both / int(images[a]),
                    "share_of_b": both / int(images[b]),
                    "lift": both * len(records) / (int(images[a]) * int(images[b])),
                }
            )
    return {"pairs": pairs, "matrix": matrix.tolist() if k <= FULL_MATRIX else None, **_tied(records, matrix)}


def _tied(records: Records, matrix: np.ndarray) -> dict[str, Any]:
    """Share of the rarest class's images that hold the most frequent class too: repeating them repeats both.

    None where no class has twice the boxes of another, so that there is nothing to balance.
    """
    counts = records.class_counts()
    present = np.flatnonzero(takes_part(counts))
    if not len(present) or counts[present].max() < 2 * counts[present].min():
        return {"rarest": None, "most_frequent": None, "rarest_with_most_frequent": None}
    rare, frequent = present[np.argmin(counts[present])], present[np.argmax(counts[present])]
    return {
        "rarest": records.class_names[rare],
        "most_frequent": records.class_names[frequent],
        "rarest_with_most_frequent": float(matrix[rare, frequent] / matrix[rare, rare]),
    }


def _together(records: Records, block: int = 4096) -> np.ndarray:
    """int64 (K, K)."""
    k, keep = records.num_classes, ~records.crowd
    images, labels = records.object_image[keep], records.labels[keep]
    total = np.zeros((k, k))
    starts = np.searchsorted(images, np.arange(0, len(records) + block, block))
    for i in range(len(starts) - 1):
        here = slice(starts[i], starts[i + 1])
        held = np.zeros((block, k), dtype=np.float32)
        held[images[here] - i * block, labels[here]] = 1
        total += held.T @ held
    return total.round().astype(np.int64)


def _rows(splits: dict[str, Records], groups: Any, judge: str | None) -> list[dict[str, Any]]:
    """A row a class, the largest difference of its share between the splits first."""
    boxes = {name: part.class_counts() for name, part in splits.items()}
    images = {name: part.image_counts() for name, part in splits.items()}
    share = {name: counts / max(counts.sum(), 1) for name, counts in boxes.items()}
    rows = []
    for k, name in enumerate(next(iter(splits.values())).class_names):
        shares = [float(part[k]) for part in share.values()]
        width = half_width(int(boxes[judge][k])) if judge else None
        by_image = half_width(int(images[judge][k])) if judge else None
        rows.append(
            {
                "name": name,
                "group": groups.of(k),
                "boxes": {split: int(counts[k]) for split, counts in boxes.items()},
                "images": {split: int(counts[k]) for split, counts in images.items()},
                "share": dict(zip(share, shares, strict=True)),
                "difference": max(shares) - min(shares),
                "half_width": width,
                "half_width_if_images_count": by_image,
                "judgeable": None if judge is None else width is not None and width <= JUDGED,
            }
        )
    return sorted(rows, key=lambda row: -row["difference"])


def _cannot_be_judged(splits: dict[str, Records], judge: str | None) -> list[str] | None:
    if judge is None:
        return None
    counts = splits[judge].class_counts()
    least = math.ceil((1.96 * SPREAD / JUDGED) ** 2)
    return [splits[judge].class_names[k] for k in np.flatnonzero(counts < least)]


def _per_image(records: Records) -> dict[str, Any]:
    counts = objects_per_image(records)
    return {
        "images": len(counts),
        "empty": int((counts == 0).sum()),
        "mean": float(counts.mean()) if len(counts) else None,
        "median": float(np.median(counts)) if len(counts) else None,
        "most": int(counts.max()) if len(counts) else None,
        "histogram": np.bincount(np.minimum(counts, 50), minlength=51).tolist(),  # the last bin: 50 and more
    }
