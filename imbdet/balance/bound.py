"""What no choice of pictures can go below, for sets whose linear program is too large to be solved.

For weights q and p of the classes, each of sum 1, no choice r has a larger most than q B r or a smaller least than
p B r, so that its spread is at least (q B r) / (p B r), and

    least spread = max over q, p of  min over r within the limits of  (q B r) / (p B r)

by the duality of linear programs: any q and p give a bound, the best ones the least spread itself. The minimum has a
closed form for each picture: with its cost c = (q - v p) B it comes `high` times where c < 0 and `low` times elsewhere,
and where too few pictures are left, the cheapest of the others come once (v is the ratio, found in a few rounds:
Dinkelbach 1967). q and p go by exponentiated gradients (Kivinen and Warmuth 1997). On
the sets of the tests the bound is at most 2 % below the program's.

Letters: N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

STEPS = 300
RATE = 2.0  #: of the first step; it falls with the square root of their number
MOST = 20.0  #: a class is not moved by more than this in one step, in units of the mean
FLOOR = 1e-12  #: of a weight


@dataclass(frozen=True)
class Limits:
    """low, high: how often a picture comes at least and at most. fewest: different pictures that are left."""

    low: int
    high: int
    fewest: int


def dual_bound(matrix: csr_array, limits: Limits) -> tuple[float, np.ndarray]:
    """Return the bound and real repeats (N,) that come near it; matrix: (K, N) boxes over the target shares."""
    by_image = csr_array(matrix.T)

    def cheapest(weights: np.ndarray) -> np.ndarray:
        cost = by_image @ weights
        repeats = np.where(cost < 0, limits.high, limits.low).astype(float)
        missing = limits.fewest - int((repeats > 0).sum())
        if missing > 0:
            absent = np.flatnonzero(repeats == 0)
            repeats[absent[np.argpartition(cost[absent], missing - 1)[:missing]]] = 1
        return repeats

    def least(q: np.ndarray, p: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """(bound, repeats that reach it (N,), their boxes (K,))."""
        boxes = whole
        ratio = float(q @ boxes / (p @ boxes))
        while True:
            repeats = cheapest(q - ratio * p)
            boxes = matrix @ repeats
            now = float(q @ boxes / max(p @ boxes, FLOOR))
            if now >= ratio * (1 - 1e-9):
                return ratio, repeats, boxes
            ratio = now

    whole = matrix @ np.ones(matrix.shape[1])
    q, p, best, mean = whole / whole.sum(), 1 / whole / (1 / whole).sum(), 1.0, np.zeros(matrix.shape[1])
    for step in range(STEPS):
        ratio, repeats, boxes = least(q, p)
        best = max(best, ratio)
        if step >= STEPS // 2:
            mean += repeats
        rate = RATE / np.sqrt(step + 1)
        q = _moved(q, rate * np.minimum(boxes / (q @ boxes), MOST))
        p = _moved(p, -rate * np.minimum(boxes / (p @ boxes), MOST))
    return best, mean / (STEPS - STEPS // 2)


def _moved(weights: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Exponentiated gradient: weights e^by, of sum 1."""
    power = np.log(weights) + by
    moved = np.exp(power - power.max())
    return np.maximum(moved / moved.sum(), FLOOR)
