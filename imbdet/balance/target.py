"""How often each picture comes, so that the classes come near a target; and what is reachable at all.

With B[c, i] the boxes of class c in picture i over the target share of c, and r_i how often picture i comes, the spread
of a choice is max_c (B r)_c / min_c (B r)_c: 1 on target, and for equal shares the ratio of the most to the least
frequent class.

What is reachable is a linear program. r_i = d_i + e_i, where d_i says whether picture i is there and e_i how often it
is repeated: low <= d_i <= 1, 0 <= e_i <= (copies - 1) d_i, and at least m pictures are left, sum d >= m. Over real
numbers the least spread u is that of (Charnes and Cooper 1962: all unknowns times t > 0, so that the spread is linear)

    min u   with   1 <= (B (d + e))_c <= u,   low t <= d_i <= t,   e_i <= (copies - 1) d_i,   sum d >= m t

Whole numbers cannot do better, so no choice of pictures has a smaller spread: `least_spread` is a true bound. Of large
sets it is a lower one, from the dual of the program (`bound.py`). What is
chosen comes from least squares with bounds (`nearest_repeats`: of the choices that are as near to the target, the one
that changes least), rounded to whole numbers and improved one picture at a time.

Letters: N images, K classes, G groups of images that hold the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, eye_array, hstack, vstack

from ..data.statistics import takes_part
from ..remedies.class_fg_fg._class_counts import ImageClasses
from ..remedies.class_fg_fg._nearest_repeats import nearest_repeats
from .bound import Limits, dual_bound
from .options import number
from .pool import known

RIDGE = 1e-3  #: of the least squares: a class off by 3 % costs as much as repeats that differ from 1 by 1
SCALES = 12  #: sizes of the result that are tried, from all boxes down to the fewest pictures
STEPS = 2000  #: pictures at most that are exchanged after the rounding
WORK = 10_000_000  #: the same times pairs of an image and a class in it: some seconds
EXACT = 50_000  #: pairs of an image and a class in it up to which the linear program is solved: some seconds
EPSILON = 1e-12  #: of that sum; less is rounding
SLACK = 1.02  #: of two sizes of the result whose spreads differ by less than this factor, the larger is taken


@dataclass(frozen=True)
class Chosen:
    """counts: int64 (N,) how often each image comes. spread: reached. bound: no choice within the limits is below."""

    counts: np.ndarray
    spread: float
    bound: float


def read_shares(target: str | dict[str, float], names: Sequence[str], boxes: np.ndarray) -> np.ndarray:
    """float64 (K,): shares of the boxes that sum up to 1; 0 for a class without boxes.

    Raises:
        ValueError: no such target, an unknown class, a share that is wanted of a class without boxes, or no boxes.
    """
    present = takes_part(boxes)
    if not present.any():
        raise ValueError("there is no box, so there is nothing to balance")
    if isinstance(target, dict):
        shares = np.where(present, boxes, 0.0) / boxes.sum()
        wanted = {names.index(known(name, names, "class")): float(value) for name, value in target.items()}
        for label, value in wanted.items():
            if not 0 < value < 1 and not (value == 1 and len(wanted) == 1):
                raise ValueError(f"target share of {names[label]!r} must be in 0..1, got {value:g}")
            if not present[label]:
                raise ValueError(f"target: {names[label]!r} has no box, so it cannot have a share of {value:g}")
        rest = np.array([k not in wanted for k in range(len(names))]) & present
        left = 1 - sum(wanted.values())
        if left < -1e-6 or (left > 1e-6) != rest.any():
            what = "sum up to 1" if not rest.any() else "leave a share to the other classes"
            raise ValueError(f"target shares must {what}, and their sum is {sum(wanted.values()):g}")
        shares[rest] *= left / max(shares[rest].sum(), 1e-12)
        shares[list(wanted)] = list(wanted.values())
        return shares
    ratio = float(boxes[present].max() / boxes[present].min())
    kind, _, value = target.partition(":")
    known(kind, ("equal", "sqrt", "power", "ratio"), "target")
    if kind in ("power", "ratio") and not value:
        raise ValueError(f"target {target!r}: expected {kind}:NUMBER")
    power = {"equal": 1.0, "sqrt": 0.5}.get(kind)
    if kind == "power":
        power = number(value)
        if not 0 <= power <= 1:
            raise ValueError(f"target {target!r}: the power is in 0 (as it is) .. 1 (equal)")
    if kind == "ratio":
        wanted = number(value)
        if not wanted >= 1:
            raise ValueError(f"target {target!r}: a ratio of the most to the least frequent class is 1 or more")
        power = 0.0 if ratio <= wanted else 1 - np.log(wanted) / np.log(ratio)
    shares = np.where(present, boxes, 0.0)
    shares[present] **= 1 - power
    return shares / shares.sum()


def least_spread(held: ImageClasses, shares: np.ndarray, limits: Limits) -> tuple[float, np.ndarray]:
    """The bound, and the real repeats (N,) that reach it.

    shares: (K,); classes with share 0 take no part. The bound is inf where no choice has every class.
    """
    present = shares > 0
    only = held.only(present)
    if len(only.boxes) > EXACT:
        weights = only.boxes / shares[present][only.labels] / only.boxes.sum()
        return dual_bound(csr_array((weights, (only.labels, only.images)), (only.num_classes, held.num_images)), limits)
    matrix = np.zeros((held.num_images, only.num_classes))
    matrix[only.images, only.labels] = only.boxes
    rows, place, sizes = np.unique(matrix, axis=0, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    g, k = rows.shape
    b = coo_array(rows.T / shares[present][:, None])
    one, no = eye_array(g, format="coo"), coo_array((g, g))

    def column(values) -> coo_array:
        return coo_array(np.asarray(values, dtype=float).reshape(-1, 1))

    # Unknowns: d (G,) and e (G,), each the sum over a group, then t, then u.
    nothing = column(np.zeros(g))
    blocks = [
        hstack([-b, -b, column(np.zeros(k)), column(np.zeros(k))]),
        hstack([b, b, column(np.zeros(k)), column(-np.ones(k))]),
        hstack([one, no, column(-sizes), nothing]),
        hstack([-one, no, column(limits.low * sizes), nothing]),
        hstack([-(limits.high - 1) * one, one, nothing, nothing]),
        hstack([coo_array(-np.ones((1, g))), coo_array((1, g)), column([limits.fewest]), column([0])]),
    ]
    right = np.concatenate([-np.ones(k), np.zeros(k + 3 * g + 1)])
    cost = np.append(np.zeros(2 * g + 1), 1.0)
    done = linprog(cost, A_ub=vstack(blocks).tocsr(), b_ub=right, bounds=(0, None), method="highs")
    if done.x is None:
        return float("inf"), np.ones(held.num_images)
    real = (done.x[:g] + done.x[g : 2 * g]) / sizes / max(done.x[2 * g], 1e-300)
    return float(max(done.fun, 1.0)), real[place]


def choose(
    held: ImageClasses,
    shares: np.ndarray,
    limits: Limits,
    rng: np.random.Generator,
    progress: Callable[[], None] = lambda: None,
) -> Chosen:
    """Whole repeats that bring the classes near `shares`; see the top of the file. progress: called SCALES times."""
    bound, best_real = least_spread(held, shares, limits)
    present = shares > 0
    only = held.only(present)
    target = shares[present] * float(only.boxes.sum())
    low, high = limits.low, limits.high
    found: list[tuple[float, np.ndarray]] = []
    smallest = max(limits.fewest / max(held.num_images, 1), 1e-3)
    for scale in np.geomspace(1.0, smallest, SCALES) if low == 0 else np.geomspace(1.0, high, SCALES):
        real = nearest_repeats(only, scale * target, low, high, RIDGE)
        real[np.setdiff1d(np.arange(held.num_images), held.images)] = 1.0  # pictures without boxes stay
        counts = _improve(only, scale * target, rounded(real, rng), limits)
        found.append((spread(only.expected_boxes(counts), target), counts))
        progress()
    least = min(value for value, _ in found)
    if np.isfinite(bound) and least > bound * 1.1:  # least squares do not mind the largest deviation: the program does
        real = np.clip(best_real, low, high)
        scaled = target * (only.expected_boxes(real).sum() / target.sum())
        for steps in (0, STEPS):
            counts = _improve(only, scaled, rounded(real, rng), limits, steps)
            found.append((spread(only.expected_boxes(counts), target), counts))
        least = min(value for value, _ in found)
    near = [(value, counts) for value, counts in found if value <= least * SLACK]
    value, counts = max(near, key=lambda one: int(np.minimum(one[1], 1).sum()))
    return Chosen(counts, value, bound)


def spread(boxes: np.ndarray, target: np.ndarray) -> float:
    """Largest over smallest boxes (K,) relative to the target (K,); inf where a class has none."""
    relative = boxes / target
    return float(relative.max() / relative.min()) if relative.min() > 0 else float("inf")


def rounded(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int64 (N,): floor or ceiling of each, whose sum is that of all, with one random number (systematic sampling)."""
    order = rng.permutation(len(real))
    fixed = np.rint(real[order] * 2**20).astype(np.int64)
    counts = np.empty(len(real), dtype=np.int64)
    counts[order] = np.diff((np.cumsum(fixed) + int(rng.integers(2**20))) // 2**20, prepend=0)
    return counts


def _improve(
    held: ImageClasses, target: np.ndarray, counts: np.ndarray, limits: Limits, steps: int = STEPS
) -> np.ndarray:
    """Add, take or exchange one picture at a time while that brings sum_c (boxes_c / target_c - 1)^2 down most.

    The limit of pictures comes first: where too few are left, the absent ones that harm least are added.
    steps: at most; fewer in large sets, where one picture changes little.
    """
    counts = np.clip(counts, limits.low, limits.high)
    values = held.boxes / target[held.labels]
    square = np.bincount(held.images, weights=values**2, minlength=held.num_images)
    filled = square > 0
    off = held.expected_boxes(counts.astype(float)) / target - 1
    first = np.searchsorted(held.images, np.arange(held.num_images + 1))

    def step(i: int, sign: int) -> None:
        counts[i] += sign
        here = slice(first[i], first[i + 1])
        off[held.labels[here]] += sign * values[here]

    def slope() -> np.ndarray:
        return 2 * np.bincount(held.images, weights=values * off[held.labels], minlength=held.num_images)

    def best(values: np.ndarray, where: np.ndarray) -> tuple[float, int]:
        allowed = np.where(where, values, np.inf)
        i = int(np.argmin(allowed))
        return float(allowed[i]), i

    while (missing := limits.fewest - int((counts > 0).sum())) > 0:
        absent = np.flatnonzero(counts == 0)
        order = np.argsort((square + slope())[absent], kind="stable")
        for i in absent[order[: max(missing // 8, 1)]].tolist():
            step(i, 1)
    for _ in range(min(steps, WORK // max(len(values), 1))):
        now, left = slope(), int((counts > 0).sum())
        more, i = best(square + now, filled & (counts < limits.high))
        spare = (counts > 1) | (left > limits.fewest)
        less, j = best(square - now, filled & (counts > limits.low) & spare)
        if min(more, less) < -EPSILON:
            step(*((i, 1) if more <= less else (j, -1)))
            continue
        less, j = best(square - now, filled & (counts > limits.low))
        if not np.isfinite(less):
            break
        step(j, -1)
        more, i = best(square + slope(), (counts == 0) & (np.arange(len(counts)) != j))
        if less + more > -EPSILON:
            step(j, 1)
            break
        step(i, 1)
    return counts
