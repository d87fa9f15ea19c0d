"""What an arm changed besides its metrics: the meters of the imbalance that its remedies claim to change."""

import math
import statistics
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from ..config.remedy import remedy_names
from .kept import LAST_REPORTS, Finished, is_number

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
