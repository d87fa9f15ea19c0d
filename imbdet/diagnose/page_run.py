"""What the page shows of section 8: a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import svg
from .page_parts import Part, Table, share
from .svg import number
from .tide import TYPES

MOST_CLASSES = 24  #: in the confusion matrix of the page


def points(value: float | None) -> float | None:
    """Map 0..1 -> points of 100; None where there is nothing (pycocotools has -1)."""
    return None if value is None or value == -1 else round(100 * value, 2)


def run(numbers: dict[str, Any], part: Part) -> None:
    rows, paradox = numbers["rows"], numbers["paradox"]
    metrics = numbers["metrics"]
    part.lead.append(
        f"On {numbers['split']}: AP {number(points(metrics['AP']))}, AP50 {number(points(metrics['AP50']))}, optimal "
        f"LRP {number(points(numbers['oLRP']['oLRP']))} (lower is better). "
        f"Pooled over all objects {share(paradox['pooled'])} are found with their class; the mean over the classes is "
        f"{share(paradox['mean_of_classes'])}. Where the two part, the frequent classes hide the others. Calling every "
        f"object by the most frequent class would be right for {share(paradox['always_most_frequent'])}."
    )
    if numbers["frequency_correlation"] is not None:
        part.lead.append(
            f"Rank correlation of a class's AP with its training boxes: {number(numbers['frequency_correlation'])}."
        )
    frequency = [(row["name"], row["train_boxes"], points(row["AP"])) for row in rows]
    part.plots.append(svg.points("AP of a class over its training boxes", frequency, "training boxes", "AP", log=True))
    names = [row["name"] for row in rows]
    values = {key: [points(row[key]) for row in rows] for key in ("AP", "precision", "recall")}
    part.plots.append(svg.bars("Every class, most training boxes first", names, values, "points of 100"))
    errors = {what: [points(row["tide"][what]) for row in rows] for what in TYPES}
    part.plots.append(svg.bars("AP50 that each kind of error costs (TIDE)", names, errors, "points"))
    _confusion(numbers["confusion"], rows, part)
    curve = numbers["calibration"]
    known = [(s, p) for s, p in zip(curve["score"], curve["precision"], strict=True) if s is not None]
    series = {"detections": tuple(zip(*known, strict=True)) if known else ((), ())}
    series["=perfect"] = ((0, 1), (0, 1))
    title = f"Calibration, expected error {number(curve['error'])}"
    part.plots.append(svg.lines(title, series, "mean score of a bin", "share that is right (IoU 0.5)"))
    for criterion in numbers.get("measured", []):
        part.plots += _shares(criterion)
    _tables(numbers, part)
    part.warnings += numbers["notes"]


def _confusion(found: dict[str, Any], rows: list[dict], part: Part) -> None:
    order = [found["names"].index(row["name"]) for row in rows][:MOST_CLASSES] + [len(found["names"]) - 1]
    chosen = np.array(found["matrix"])[np.ix_(order, order)]
    names = [found["names"][i] for i in order]
    title = "Confusion at the best thresholds, IoU 0.5"
    part.plots.append(svg.matrix(title, chosen, names, names, "true class", "found as"))


def _shares(criterion: dict[str, Any]) -> list[str]:
    plots = []
    for task in ("classification", "regression"):
        loss, gradient = criterion["loss"][task], criterion["gradient"][task]
        words = [word for word in loss if loss[word] or gradient[word]]
        values = {
            what: [None if row[word] is None else 100 * row[word] for word in words]
            for what, row in (("loss", loss), ("gradient", gradient))
        }
        plots.append(svg.bars(f"Who makes the {task} loss, {criterion['name']}", words, values, "% of all"))
    return plots


def _tables(numbers: dict[str, Any], part: Part) -> None:
    rows = numbers["rows"]
    heads = ["class", "group", "train boxes", "boxes", "AP", "AP50", "precision", "recall", "oLRP", "misfit of boxes"]
    table = [
        [r["name"], r["group"] or "–", r["train_boxes"], r["boxes"]]
        + [points(r[key]) for key in ("AP", "AP50", "precision", "recall", "oLRP", "loc")]
        for r in rows
    ]
    note = "Points of 100. Precision and recall at the score of the least LRP; misfit: mean 1 - IoU of what was found."
    part.tables.append(Table("Every class", heads, table, note))
    heads = ["class", *(f"{what} costs" for what in TYPES), *(f"{what} errors" for what in TYPES)]
    table = [
        [r["name"], *(points(r["tide"][what]) for what in TYPES), *(r["tide_counts"][what] for what in TYPES)]
        for r in rows
    ]
    whole = numbers["tide"]
    table.append(["all", *(points(whole["delta"][what]) for what in TYPES), *(whole["counts"][what] for what in TYPES)])
    part.tables.append(Table("Kinds of errors (TIDE), points of AP50", heads, table))
    part.tables.append(
        Table(
            "AP by size, place and crowding",
            ["objects", "number", "AP"],
            [
                *([name, None, points(numbers["metrics"][key])] for key, name in SIZES.items()),
                *([row["name"], row["objects"], points(row["AP"])] for row in numbers["subsets"]),
            ],
            "Objects of the other kind count as regions to be ignored.",
        )
    )
    tasks = [
        [criterion["name"], loss, v["value"], share(v["loss"]), share(v["gradient"])]
        for criterion in numbers.get("measured", [])
        for loss, v in criterion["tasks"].items()
    ]
    heads = ["stage", "loss", "mean value", "share of the stage's loss", "of its gradient (sum of absolute values)"]
    part.tables.append(Table("The two tasks of each stage", heads, tasks, numbers.get("measured_note", "")))
    _before_after(numbers.get("before_after"), part)


def _before_after(found: dict[str, Any] | None, part: Part) -> None:
    if found:
        names = list(found["runs"])
        rows = [[what, *(points(v) for v in values)] for what, values in found["rows"].items()]
        part.tables.append(Table("Side by side", ["measure, points", *names], rows, found["note"]))


def advice(numbers: dict[str, Any], part: Part) -> None:
    count, total = len(numbers["applied"]), numbers["rules"]
    part.lead.append(
        f"{count} of {total} rules apply. A rule says what may matter here, not that it does: a remedy has the "
        "evidence that stands beside it and no more, and the command beside it measures it on this data."
        if count
        else f"None of {total} rules applies: nothing to do. Train, then diagnose the run (--run DIR)."
    )
    if numbers["not_measured"]:
        part.lead.append(f"Not measured, so not judged: {', '.join(numbers['not_measured'])}.")


SIZES = {"APs": "small (area below 32² px)", "APm": "medium", "APl": "large (above 96² px)"}
