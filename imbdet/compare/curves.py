"""Curves of the arms over the iterations, and what a longer training would still add."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from .kept import CURVES, Finished, is_number


def curves(cells: Sequence[Finished]) -> dict[str, dict[str, list[float]]]:
    """Mean, lowest and highest value over the seeds, at the iterations at which every seed reported.

    A curve that no seed has is left out; so are seeds without it.
    """
    found = {}
    for name, (split, tag) in CURVES.items():
        series = [_series(cell, split, tag) for cell in cells]
        series = [one for one in series if one]
        iterations = sorted(set.intersection(*map(set, series))) if series else []
        if iterations:
            columns = [[one[i] for one in series] for i in iterations]
            ends = {"low": [min(column) for column in columns], "high": [max(column) for column in columns]}
            means = [statistics.fmean(column) for column in columns]
            found[name] = {"iterations": iterations, "mean": means, **ends}
    return found


def doubling_gain(curve: Mapping[str, Sequence[float]]) -> float | None:
    """How much AP a training of twice the length would add, by the curve of one: None if it is too short to tell.

    From a quarter to half of the iterations AP rises by d1, from half to all by d2. If what is left to gain falls as a
    power of the iterations, the next doubling adds d2 * d2 / d1. In a run whose rate falls to 0, half of the way is
    worse than a training of half the length, so this is an upper estimate.
    """
    iterations, mean = curve.get("iterations", ()), curve.get("mean", ())
    if len(iterations) < 3 or iterations[0] > iterations[-1] / 4:
        return None
    quarter, half, whole = np.interp([iterations[-1] / 4, iterations[-1] / 2, iterations[-1]], iterations, mean)
    d1, d2 = half - quarter, whole - half
    return float(d2 * min(d2 / d1, 1.0)) if d1 > 0 and d2 > 0 else float(max(d2, 0.0))


def _series(cell: Finished, split: str, tag: str) -> dict[int, float]:
    lines = (line for line in cell.kept.reports if line.get("split") == split and is_number(line.get(tag)))
    return {line["iteration"]: float(line[tag]) for line in lines}
