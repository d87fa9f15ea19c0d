"""What the page shows of each section: sentences, plots and tables out of the section's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import svg
from .svg import number

MAX_ROWS = 200  #: of a table on the page; report.json holds all


@dataclass
class Table:
    """Rows for the page; a column is set flush right where all its cells are numbers."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""
    numeric: list[bool] = field(init=False)

    def __post_init__(self):
        if len(self.rows) > MAX_ROWS:
            self.note = f"{self.note} The first {MAX_ROWS} of {len(self.rows)} rows; report.json holds all.".strip()
        rows = self.rows[:MAX_ROWS]
        columns = list(zip(*rows, strict=True)) or [()] * len(self.heads)
        self.numeric = [
            all(c is None or isinstance(c, (int, float, np.number)) or c in ("–", "") or _is_share(c) for c in column)
            for column in columns
        ]
        self.rows = [[_cell(value) for value in row] for row in rows]


@dataclass
class Part:
    """What one section shows."""

    lead: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    plots: list[str] = field(default_factory=list)
    maps: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def share(value: float | None) -> str:
    """Map 0.123 -> "12.3 %"."""
    return "–" if value is None else f"{100 * value:.1f} %"


def first(names: Sequence[str], most: int = 12) -> str:
    """Return the first names, with "..." where there are more."""
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def _is_share(cell: Any) -> bool:
    return isinstance(cell, str) and cell.endswith(" %") and cell[:-2].replace(".", "").replace("-", "").isdigit()


def _cell(value: Any) -> str:
    if value is None or isinstance(value, (float, np.floating)):
        return number(value)
    return f"{value:,}" if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else str(value)


def classes(numbers: dict[str, Any], part: Part) -> None:
    rows, splits, judge = numbers["rows"], list(numbers["imbalance"]), numbers["judged_on"]
    part.lead.append(
        f"Boxes of each class in every split, the class whose share differs most between the splits first. Groups: "
        f"{numbers['groups_rule']}. A class without boxes is absent, not rare, and takes no part in the numbers below."
    )
    names = [row["name"] for row in rows]
    part.plots += [
        svg.bars(
            "Share of all boxes", names, {s: [100 * r["share"][s] for r in rows] for s in splits}, "% of the boxes"
        ),
        svg.bars(
            "Boxes per class", names, {s: [r["boxes"][s] or None for r in rows] for s in splits}, "boxes", log=True
        ),
    ]
    edges = list(range(52))
    part.plots.append(
        svg.histogram(
            "Objects per image",
            edges,
            {s: _shares(v["histogram"]) for s, v in numbers["objects_per_image"].items()},
            "objects in an image (last bin: 50 and more)",
            "% of the images",
        )
    )
    table = numbers["co_occurrence"]["matrix"]
    if table and len(names) > 1:
        order = [row["name"] for row in sorted(rows, key=lambda r: -r["images"][numbers["train"]])][:24]
        place = numbers["class_names"]
        index = [place.index(name) for name in order]
        chosen = np.asarray(table)[np.ix_(index, index)]
        part.plots.append(svg.matrix("Images that hold both classes", chosen, order, order, "class", "class"))
    _judging(numbers, part, judge)
    _class_tables(numbers, part, splits, judge)


def _judging(numbers: dict[str, Any], part: Part, judge: str | None) -> None:
    if judge is None:
        part.warnings.append("There is no val or test split, so no class can be judged: hold out images first.")
    elif numbers["cannot_be_judged"]:
        many, width = len(numbers["cannot_be_judged"]), 100 * numbers["judged_half_width"]
        part.warnings.append(
            f"Classes that cannot be judged on {judge}: {many}. With so few boxes their AP has a 95 % interval wider "
            f"than ±{width:.0f} points, more than remedies differ by: {first(numbers['cannot_be_judged'])}"
        )
    for split, absent in numbers["missing_in"].items():
        if absent:
            part.warnings.append(f"Classes without a box in {split}: {len(absent)} ({first(absent)})")


def _class_tables(numbers: dict[str, Any], part: Part, splits: list[str], judge: str | None) -> None:
    heads = ["class", "group", *(f"{s} boxes" for s in splits), *(f"{s} images" for s in splits), "share differs by"]
    heads += [f"half-width of its AP on {judge}, points"] if judge else []
    rows = []
    for row in numbers["rows"]:
        width = [] if not judge else [None if row["half_width"] is None else round(100 * row["half_width"], 1)]
        counts = [*row["boxes"].values(), *row["images"].values()]
        rows.append([row["name"], row["group"] or "–", *counts, share(row["difference"]), *width])
    part.tables.append(Table("Every class", heads, rows))
    measures = ("classes", "ratio", "gini", "entropy", "effective_classes", "largest_share")
    heads = [
        "split",
        "classes with boxes",
        "most to least",
        "Gini",
        "entropy, bits",
        "effective classes",
        "largest share",
    ]
    rows = [[name, *(values[key] for key in measures)] for name, values in numbers["imbalance"].items()]
    rows += [[f"{r['name']} ({r['source']})", *(r.get(key) for key in measures)] for r in numbers["reference"]]
    part.tables.append(
        Table(
            "How unequal",
            heads,
            rows,
            "Gini: 0 for equal classes. Effective classes: 2 to the entropy. Others beside yours.",
        )
    )
    heads = ["split", "images", "without objects", "mean", "median", "most"]
    keys = ("images", "empty", "mean", "median", "most")
    rows = [[name, *(v[key] for key in keys)] for name, v in numbers["objects_per_image"].items()]
    rows += [[f"{r['name']} ({r['source']})", *map(r.get, keys)] for r in numbers["reference_objects"]]
    part.tables.append(Table("Objects per image", heads, rows))
    heads = ["class a", "class b", "images of both", "of a's images", "of b's images", "against chance"]
    rows = [
        [p["a"], p["b"], p["images"], share(p["share_of_a"]), share(p["share_of_b"]), p["lift"]]
        for p in numbers["co_occurrence"]["pairs"][:20]
    ]
    note = "Against chance: images of both, over what independent classes would have."
    part.tables.append(Table(f"Classes that occur together in {numbers['train']}", heads, rows, note))


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts)
    return [100 * count / total if total else 0.0 for count in counts]
