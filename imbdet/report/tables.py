"""Rows and headline numbers of a run, as plain data that a template or a plot can show.

Notable: `result` is what `imbdet.evaluate` returns: metrics by name, then per_class, groups and the rest. A metric that
is not defined (COCO writes -1, JSON null) is None here and shown as a dash, never as a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

GROUPS = ("rare", "common", "frequent")
GROUP_KEYS = {"rare": "APr", "common": "APc", "frequent": "APf"}

#: what the tiles at the top of the page show: key of the metrics, name, what it means
HEADLINES = (
    ("AP", "AP", "mean over IoU 0.50 to 0.95 and over classes"),
    ("AP50", "AP50", "IoU of at least 0.50"),
    ("AP75", "AP75", "IoU of at least 0.75"),
    ("APr", "AP rare", "classes with the fewest train images"),
    ("APc", "AP common", "those between"),
    ("APf", "AP frequent", "classes with the most train images"),
    ("AR100", "AR100", "recall with 100 detections an image"),
)
SIZES = (("APs", "small, below 32² pixels"), ("APm", "medium, up to 96² pixels"), ("APl", "large, above"))


@dataclass(frozen=True)
class ClassRow:
    """One class. ap, ap50: 0..1 or None; train, val: boxes, None where unknown; group: of its train count, or None."""

    name: str
    ap: float | None
    ap50: float | None
    train: int | None
    val: int | None
    group: str | None


def number(value: Any) -> float | None:
    """A metric, or None where it is not defined."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return float(value)


def points(value: float | None) -> str:
    """0.5045 -> "50.5", in points as on the terminal; a dash where there is nothing to be found."""
    return "–" if value is None else f"{100 * value:.1f}"


def headlines(result: dict[str, Any]) -> list[tuple[str, float | None, str]]:
    """(name, value, meaning) of the tiles; metrics that the result does not have are left out."""
    return [(name, number(result[key]), meaning) for key, name, meaning in HEADLINES if key in result]


def size_rows(result: dict[str, Any]) -> list[tuple[str, float | None, str]]:
    """The same for AP by size of the object."""
    return [(key, number(result[key]), meaning) for key, meaning in SIZES if key in result]


def class_rows(result: dict[str, Any]) -> list[ClassRow]:
    """One row per class, the class with most train boxes first, then by name."""
    rows = [
        ClassRow(
            name=str(row.get("name", "?")),
            ap=number(row.get("AP")),
            ap50=number(row.get("AP50")),
            train=row.get("train_boxes"),
            val=row.get("boxes"),
            group=row.get("group"),
        )
        for row in result.get("per_class") or []
    ]
    return sorted(rows, key=lambda row: (-(row.train or 0), row.name))


def summary(result: dict[str, Any]) -> str:
    """One sentence: what the imbalance between classes costs; "" without groups or counts."""
    rare, frequent = number(result.get("APr")), number(result.get("APf"))
    counts = [row.train for row in class_rows(result) if row.train]
    if rare is None or frequent is None or len(counts) < 2:
        return ""
    most, least = max(counts), min(counts)
    start = f"The most frequent class has {most / least:.0f} times the train boxes of the rarest ({most} and {least}). "
    both = f"(AP {points(frequent)} and {points(rare)})"
    if abs(frequent - rare) < 0.01:
        return start + f"Frequent and rare classes are found equally well {both}."
    verb = "worse" if rare < frequent else "better"
    gap = points(abs(frequent - rare))
    return start + f"Rare classes are found {verb} than frequent ones by {gap} points of AP {both}."


def group_rule(result: dict[str, Any]) -> str:
    """How the groups were made, in words; "" if the result does not say."""
    groups = result.get("groups")
    return str(groups.get("rule", "")) if isinstance(groups, dict) else ""


def environment_rows(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """environment.json as (key, text), nested keys joined by a space, empty values left out."""
    rows = []
    for key, value in environment.items():
        if isinstance(value, dict):
            rows.append((key, ", ".join(f"{name} {item}" for name, item in value.items())))
        elif key == "command" and isinstance(value, list):
            rows.append((key, " ".join(map(str, value))))
        elif key == "resumed" and isinstance(value, list):
            rows.append((key, "at iteration " + ", ".join(str(one.get("iteration")) for one in value)))
        elif value is not None:
            rows.append((key.replace("_", " "), str(value)))
    return [(key, text) for key, text in rows if text]
