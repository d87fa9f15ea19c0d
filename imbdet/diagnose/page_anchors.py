"""What the page shows of sections 2, 5 and 6: foreground, IoU, regression."""

from __future__ import annotations

from typing import Any

from . import svg
from .page_parts import Part, Table, share
from .svg import number


def foreground(numbers: dict[str, Any], part: Part) -> None:
    if "total" in numbers:
        total = numbers["total"]
        part.lead.append(
            f"Anchors of the config, matched by its {numbers['matcher']} on {numbers['images']} images without any "
            f"training: {number(total['foreground'])} of {number(total['regions'])} are positive in an image, "
            f"{number(numbers['negatives_per_positive'])} negatives for each; the sampler ({numbers['sampler']}) keeps "
            f"{number(numbers['kept_negatives_per_positive'])} for each."
        )
        if numbers["known_after_a_run"]:
            part.lead.append(
                f"Known after a run only: {', '.join(numbers['known_after_a_run'])} (their regions are proposals)."
            )
        rows = numbers["levels"]
        names = [f"{row['level']} (stride {row['stride']})" for row in rows]
        values = {key: [row[key] or None for row in rows] for key in ("foreground", "background")}
        kept = {key: [row[f"kept_{key}"] or None for row in rows] for key in ("foreground", "background")}
        part.plots.append(svg.bars("Anchors of each level, matched", names, values, "anchors an image", log=True))
        part.plots.append(svg.bars("The same, after the sampler", names, kept, "anchors an image", log=True))
        keys = ("regions", "foreground", "background", "ignored", "kept_foreground", "kept_background")
        heads = ["level", "stride", "anchors", "positive", "negative", "ignored", "kept positive", "kept negative"]
        table = [[row["level"], row["stride"], *(row[key] for key in keys)] for row in rows]
        part.tables.append(Table("Means per image", heads, [*table, ["all", None, *(total[key] for key in keys)]]))
    heads = ["stage", "positives", "negatives", "ignored", "loss on background", "gradient on background"]
    rows = [
        [s["name"], s["positives"], s["negatives"], s["ignored"]]
        + [share(s[what]["classification"]["background"]) for what in ("loss", "gradient")]
        for s in numbers.get("stages", [])
    ]
    note = "Per image, after the samplers; share of the classification loss and of its gradient."
    part.tables.append(Table("Measured in the run", heads, rows, note))


def iou(numbers: dict[str, Any], part: Part) -> None:
    if "best" in numbers:
        threshold = numbers["threshold"]
        part.lead.append(
            f"The best anchor of an object has an IoU of {number(numbers['mean_best'])} with it on average over all "
            f"objects of {numbers['split']}. Of {numbers['objects']} objects in {numbers['images']} matched images "
            f"{numbers['unmatched']} have no positive anchor at all."
        )
        if threshold is not None and numbers["below"]:
            part.lead.append(
                f"{share(numbers['below'])} of the objects have no anchor of IoU {threshold:g} or more, and learn only "
                "where the matcher takes the best anchor whatever its IoU is."
            )
        series = {"objects": numbers["best"]}
        part.plots.append(svg.histogram("Best anchor of each object", numbers["edges"], series, "IoU", "objects"))
        positives = {name: counts for name, counts in numbers["positives"].items() if sum(counts)}
        part.plots.append(
            svg.histogram(
                "IoU of the positives by level", numbers["edges"], positives, "IoU with their object", "anchors"
            )
        )
        names = list(numbers["best_per_level"])
        counts = {"objects": [numbers["best_per_level"][name] or None for name in names]}
        part.plots.append(svg.bars("Level of the best anchor", names, counts, "objects"))
        heads = ["class", "boxes", "median IoU of the best anchor", f"below {threshold}"]
        rows = [[r["name"], r["boxes"], r["median"], share(r["below"])] for r in numbers["rows"]]
        part.tables.append(Table("Every class, worst first", heads, rows))
    for stage in numbers.get("stages", []):
        found = stage["iou"]
        series = {"before regression": found["before"], "after": found["after"]}
        title = f"IoU of the positives before and after, {stage['name']}"
        part.plots.append(svg.histogram(title, found["edges"], series, "IoU with their object", "positives"))
    heads = ["stage", "mean IoU before", "after", "below 0.5 before", "after"]
    rows = [
        [s["name"], s["iou"]["before_mean"], s["iou"]["after_mean"]]
        + [share(s["iou"]["before_below"]), share(s["iou"]["after_below"])]
        for s in numbers.get("stages", [])
    ]
    part.tables.append(Table("Before and after regression, in the run", heads, rows))


def regression(numbers: dict[str, Any], part: Part) -> None:
    held = numbers["held"]
    part.lead.append(
        f"Encoded targets of {numbers['positives']:,} positive anchors: the errors of a detector that has learned "
        "nothing yet. A loss in which few errors hold most of the gradient is ruled by outliers."
    )
    targets = {name: column["histogram"] for name, column in numbers["targets"].items()}
    part.plots.append(
        svg.histogram("Encoded targets", numbers["edges"], targets, "delta (of the box coder)", "positives")
    )
    own = numbers["own"]
    held = {**held, f"this config's ({own['name']})": own}
    names = ["1 % largest", "5 % largest", "10 % largest"]
    for what, axis in (("loss", "% of the loss"), ("gradient", "% of the gradient")):
        values = {loss: [100 * v for v in row[what]] for loss, row in held.items()}
        part.plots.append(svg.bars(f"Held by the largest errors: {what}", names, values, axis))
    heads = ["value", "mean", "deviation", "1 %", "25 %", "median", "75 %", "99 %"]
    rows = [[n, c["mean"], c["deviation"], *c["percentiles"]] for n, c in numbers["targets"].items()]
    part.tables.append(Table("Targets", heads, rows))
