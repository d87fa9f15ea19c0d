"""What the reports of training tell of the arms: curves over the iterations, what a longer training would still add,
and the meters of the imbalance that a remedy claims to change.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..config.remedy import remedy_names
from ..evaluation.noise import mean_half_widths
from .kept import CURVES, LAST_REPORTS, Finished, Runs, is_number, kept_path, read_kept
from .results import read_results
from .structures import BASELINE, Plan

STILL_LEARNING = 0.02  #: AP that twice the iterations would add, above which arms differ in how fast they learn
MOST_METERS = 12  #: that are listed
CLEAR = 0.1  #: change, relative to the larger of both, from which any other meter is worth a line

#: imbalance (folder of the remedy) -> the meters that show it; a criterion's own name may stand after the slash
SHOWN_BY = {
    "class_fg_bg": ("share/*background", "share/*foreground", "positives/*per_image", "loss/*cls"),
    "class_fg_fg": ("share/*rare", "share/*common", "share/*frequent"),
    "spatial_regression": ("iou/*after_mean", "iou/*after_below_0.5", "loss/*loc", "loss/*reg"),
    "spatial_iou": ("iou/*before_mean", "iou/*before_below_0.5", "iou/*after_mean", "positives/*per_image"),
    "spatial_location": ("positives/*per_image", "positives/*level_*", "iou/*before_mean"),
    "scale": ("positives/*level_*",),
    "objective": ("loss/*", "gradient_norm"),
}
_GENERAL = ("share/*", "positives/*", "iou/*", "loss/*", "balance/*", "gradient_norm")
_MACHINE = ("iteration", "split", "lr", "time/*", "memory/*", "AP/*", "AR/*", "AP_per_class/*")  # no mechanism


def curves_of(by_arm: Runs) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return {arm: {curve: {"iterations", "mean", "low", "high"}}}, at the iterations at which every seed reported.

    low, high: 95 % interval of the mean over seeds, by the noise of all arms together (see `mean_half_widths`); none
    where an arm has one seed. A curve that no seed has is left out; so are seeds without it.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {arm: {} for arm in by_arm}
    seeds = sorted({seed for cells in by_arm.values() for seed in cells})
    for name, (split, tag) in CURVES.items():
        series = {arm: {s: _series(cell, split, tag) for s, cell in cells.items()} for arm, cells in by_arm.items()}
        series = {arm: {s: one for s, one in of.items() if one} for arm, of in series.items()}
        at = {arm: sorted(set.intersection(*map(set, of.values()))) for arm, of in series.items() if of}
        at = {arm: iterations for arm, iterations in at.items() if iterations}
        times = sorted({i for iterations in at.values() for i in iterations})
        values = np.full((len(times), len(at), len(seeds)), np.nan)
        for row, (arm, iterations) in enumerate(at.items()):
            for s, one in series[arm].items():
                values[np.searchsorted(times, iterations), row, seeds.index(s)] = [one[i] for i in iterations]
        widths = mean_half_widths(values) if times else values
        for row, (arm, iterations) in enumerate(at.items()):
            place = np.searchsorted(times, iterations)
            mean, width = np.nanmean(values[place, row], axis=1), widths[place, row]
            curve = {"iterations": iterations, "mean": mean.tolist()}
            if np.isfinite(width).all():
                curve |= {"low": (mean - width).tolist(), "high": (mean + width).tolist()}
            found[arm][name] = curve
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


def gain_in_words(gain: float) -> str:
    """Say what `doubling_gain` found."""
    slow = ": this compares speed of learning; train longer" if gain > STILL_LEARNING else ""
    return f"twice the iterations would add about {100 * gain:.1f} AP (an upper estimate){slow}"


def length_by_curve(plan: Plan, root: Path) -> str:
    """Say what a longer training would add, by the baseline's curve in this grid or in that of the pilot.

    "" where neither has a curve on val that is long enough.
    """
    pilot = Path(plan.pilot)
    for place in (root, *([pilot if pilot.is_dir() else pilot.parent] if plan.pilot else [])):
        records = [one for one in read_results(place) if one.arm == BASELINE and one.status == "finished"]
        runs = {one.seed: Finished(one, read_kept(kept_path(place / one.folder))) for one in records}
        curve = curves_of({BASELINE: runs})[BASELINE].get("AP/AP", {})
        gain = doubling_gain(curve)
        if gain is not None:
            return f"by the baseline's {curve['iterations'][-1]} iterations in {place}, {gain_in_words(gain)}"
    return ""


def _series(cell: Finished, split: str, tag: str) -> dict[int, float]:
    lines = (line for line in cell.kept.reports if line.get("split") == split and is_number(line.get(tag)))
    return {line["iteration"]: float(line[tag]) for line in lines}


def mechanism(arm: Sequence[Finished], baseline: Sequence[Finished], remedies: Iterable[str]) -> list[dict[str, Any]]:
    """[{"tag", "baseline", "arm"}]: means over the seeds of the last reports; None where there is no such meter.

    First those of the imbalances of `remedies`, then the ones that only the arm has, then what else changed most.
    """
    mine, theirs = _last(arm), _last(baseline)
    if not mine:
        return []
    patterns = [pattern for imbalance in imbalances(remedies) for pattern in SHOWN_BY.get(imbalance, ())]
    listed = [tag for pattern in patterns for tag in sorted({*mine, *theirs}) if fnmatchcase(tag, pattern)]
    own = [tag for tag in mine if tag not in theirs and not _matches(tag, _MACHINE)]
    others = [tag for tag in mine if tag in theirs and _matches(tag, _GENERAL) and _changed(mine[tag], theirs[tag])]
    others.sort(key=lambda tag: -_relative(mine[tag], theirs[tag]))
    chosen = list(dict.fromkeys([*listed, *own, *others]))[:MOST_METERS]
    return [{"tag": tag, "baseline": _mean(theirs.get(tag)), "arm": _mean(mine.get(tag))} for tag in chosen]


def imbalances(remedies: Iterable[str]) -> list[str]:
    """The imbalance of each remedy that is one of ours: the folder that it lies in."""
    folders = {name.rsplit("/", 1)[-1]: name.rsplit("/", 1)[0] for name in remedy_names()}
    stems = (name.rsplit("/", 1)[-1].removesuffix(".py") for name in remedies)
    return list(dict.fromkeys(folders[stem] for stem in stems if stem in folders))


def _last(cells: Sequence[Finished]) -> dict[str, list[float]]:
    """{tag: [mean of the last reports of each seed]}, of training."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        reports = [line for line in cell.kept.reports if line.get("split") == "train"][-LAST_REPORTS:]
        tags = dict.fromkeys(tag for line in reports for tag in line)
        for tag in tags:
            values = [line[tag] for line in reports if is_number(line.get(tag))]
            if values and not _matches(tag, _MACHINE):
                found.setdefault(tag, []).append(statistics.fmean(values))
    return found


def _changed(mine: list[float], theirs: list[float]) -> bool:
    """By a tenth, and by two standard errors of the difference where there are seeds to tell them from."""
    apart = abs(statistics.fmean(mine) - statistics.fmean(theirs))
    if _relative(mine, theirs) < CLEAR:
        return False
    if min(len(mine), len(theirs)) < 2:
        return True
    return apart > 2 * math.sqrt(sum(statistics.variance(one) / len(one) for one in (mine, theirs)))


def _relative(mine: list[float], theirs: list[float]) -> float:
    a, b = statistics.fmean(mine), statistics.fmean(theirs)
    return abs(a - b) / max(abs(a), abs(b), 1e-12)


def _mean(values: list[float] | None) -> float | None:
    return statistics.fmean(values) if values else None


def _matches(tag: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(tag, pattern) for pattern in patterns)
