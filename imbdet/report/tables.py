"""Rows and headline numbers of a run, as plain data that a template or a plot can show.

Notable: `result` is what `imbdet.evaluate` returns: metrics by name, then per_class, groups and the rest. A metric that
is not defined (COCO writes -1, JSON null) is None here and shown as a dash, never as a number.
"""

from dataclasses import dataclass
from typing import Any

from ..evaluation.metrics import BY_NAME, METRICS, SIZE
from .numbers import known, points

#: what the tiles at the top of the page show
TILES = ("AP", "AP50", "AP75", "APr", "APc", "APf", "AR100")


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
    """Return a metric, or None where it is not defined."""
    return float(value) if known(value) and value >= 0 else None


def headlines(result: dict[str, Any]) -> list[tuple[str, float | None, str]]:
    """Return (name, value, meaning) of the tiles; metrics that the result does not have are left out."""
    return [(key, number(result[key]), BY_NAME[key].title) for key in TILES if key in result]


def size_rows(result: dict[str, Any]) -> list[tuple[str, float | None, str]]:
    """Return the same for AP by size of the object."""
    sizes = [metric for metric in METRICS if metric.section == SIZE and metric.name in result]
    return [(metric.name, number(result[metric.name]), metric.title) for metric in sizes]


def class_rows(result: dict[str, Any]) -> list[ClassRow]:
    """Return one row per class, the class with most train boxes first, then by name."""
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
    """Return one sentence: what the imbalance between classes costs; "" without groups or counts."""
    rare, frequent = number(result.get("APr")), number(result.get("APf"))
    counts = [row.train for row in class_rows(result) if row.train]
    if rare is None or frequent is None or len(counts) < 2:
        return ""
    most, least = max(counts), min(counts)
    start = f"The most frequent class has {most / least:.0f} times the train boxes of the rarest ({most} and {least}). "
    both = f"(AP {points(frequent, 1)} and {points(rare, 1)})"
    if abs(frequent - rare) < 0.01:
        return start + f"Frequent and rare classes are found equally well {both}."
    verb = "worse" if rare < frequent else "better"
    gap = points(abs(frequent - rare), 1)
    return start + f"Rare classes are found {verb} than frequent ones by {gap} points of AP {both}."


def group_rule(result: dict[str, Any]) -> str:
    """Return how the groups were made, in words; "" if the result does not say."""
    groups = result.get("groups")
    return str(groups.get("rule", "")) if isinstance(groups, dict) else ""


def environment_rows(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """Return environment.json as (key, text), nested keys joined by a space, empty values left out."""
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
