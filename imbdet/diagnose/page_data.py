"""What the page shows of sections 3, 4 and 7: size, place, overlap and duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import svg
from .page_parts import Part, Table, share
from .size import UNCHANGED

MAPS = 24  #: classes with a heat map on the page


def size(numbers: dict[str, Any], part: Part) -> None:
    resizes = list(numbers["resizes"].items())
    name, first = resizes[0]
    when = name if name == UNCHANGED else f"after {name}"
    part.lead.append(
        f"Objects of {numbers['split']}, in pixels, {when}: half of them have a side (square root of the "
        f"area) below {svg.number(first['median_side'])} px, and {share(first['small'])} are small (area below 32² px)."
    )
    stride = numbers["stride"]
    if stride is not None and first["below_stride"] > 0.01:
        part.warnings.append(
            f"{share(first['below_stride'])} of the objects are smaller than a cell of the finest level ({stride} px) "
            f"{when}."
        )
    for key, title, axis in (("side", "Side of the boxes", "pixels"), ("aspect", "Aspect", "width / height")):
        shape = numbers[f"{key}_histogram"]
        series = {numbers["split"]: shape["counts"]}
        part.plots.append(svg.histogram(f"{title}, {when}", shape["edges"], series, axis, "objects", log=True))
    rows = numbers["rows"]
    middle = {"median": [row["side"][2] for row in rows], "5 %": [row["side"][0] for row in rows]}
    part.plots.append(svg.bars(f"Side by class, {when}", [r["name"] for r in rows], middle, "pixels"))
    _resizes(resizes, stride, part)
    heads = ["class", "boxes", "side 5 %", "25 %", "median", "75 %", "95 %", "aspect 5 %", "median", "95 %", "small"]
    heads += ["below the finest stride"] if stride else []
    table = [
        [r["name"], r["boxes"], *r["side"], r["aspect"][0], r["aspect"][2], r["aspect"][4], share(r["small"])]
        + ([share(r["below_stride"])] if stride else [])
        for r in rows
    ]
    part.tables.append(Table(f"Every class, in pixels, {when}", heads, table))
    heads = ["split", "small", "medium", "large", "median side, px of the file", "median aspect"]
    table = [
        [split, share(v["small"]), share(v["medium"]), share(v["large"]), v["side"][2], v["aspect"][2]]
        for split, v in numbers["splits"].items()
        if v
    ]
    keys = ("small", "medium", "large")
    others = numbers["reference"]
    table += [[f"{r['name']} ({r['source']})", *(share(r[key]) for key in keys), None, None] for r in others]
    part.tables.append(Table("Every split, by the areas of the file", heads, table, "COCO's limits, 32² and 96² px."))
    odd = numbers["outliers"]
    low, high = odd["whiskers"]
    heads = ["class", f"area beyond {low} IQR", f"beyond {high}", f"aspect beyond {low} IQR", f"beyond {high}"]
    table = [[r["name"], *r["area"], *r["aspect"]] for r in odd["rows"] if sum(r["area"]) + sum(r["aspect"])]
    note = "Of the logarithm, within each class; area as a share of the picture. IQR: interquartile range."
    part.tables.append(Table("Outliers", heads, table, note))


def _resizes(resizes: list[tuple[str, dict]], stride: int | None, part: Part) -> None:
    limits = list(resizes[0][1]["below"])
    heads = ["resize", "median side", *(f"area below {limit} px²" for limit in limits)]
    heads += [f"side below {stride} px"] if stride else []
    rows = [
        [name, v["median_side"], *(share(v["below"][limit]) for limit in limits)]
        + ([share(v["below_stride"])] if stride else [])
        for name, v in resizes
    ]
    part.tables.append(Table("What becomes of objects after a resize", heads, rows))


def place(numbers: dict[str, Any], part: Part) -> None:
    part.lead.append(
        f"Centers of the boxes of {numbers['split']}, as a share of width and height. "
        f"{share(numbers['touches_border'])} of the boxes come within 1 % of the border. Fractal dimension: 2 is "
        "spread over the whole picture, 1 is a line or a point (box counting, as FRACAL has it, arXiv 2410.11774). "
        "Divergence from uniform in bits; where it is no larger than by chance, the class is spread evenly, or too "
        "rare to say."
    )
    others = "; ".join(f"{r['name']} {r['mean']} ({r['classes']} classes, {r['source']})" for r in numbers["reference"])
    part.lead.append(
        f"Mean fractal dimension of the classes here: {svg.number(numbers['mean_fractal_dimension'])}. {others}."
    )
    part.maps.append(svg.heat("all classes", np.array(numbers["heat_map"])))
    for row in numbers["rows"][:MAPS]:
        part.maps.append(svg.heat(row["name"], np.array(row["heat_map"]), f"{row['boxes']:,} boxes"))
    heads = ["class", "boxes", "fractal dimension", "divergence", "by chance", "touches the border", "median distance"]
    rows = [
        [r["name"], r["boxes"], r["fractal_dimension"], r["divergence"], r["divergence_by_chance"]]
        + [share(r["touches_border"]), share(r["border_distance"])]
        for r in numbers["rows"]
    ]
    part.tables.append(Table("Every class", heads, rows, "Distance to the border as a share of the side."))


def overlap(numbers: dict[str, Any], part: Part) -> None:
    nms = numbers["nms"]
    for name, values in numbers["splits"].items():
        part.plots.append(
            svg.histogram(
                f"Highest IoU of an object with another, {name}",
                values["edges"],
                {"same class": values["same_class"], "any class": values["any_class"]},
                "IoU",
                "objects",
            )
        )
    heads = ["split", "IoU above 0.3 with any", f"above {nms} with its class", "nearly equal, same class"]
    heads.append("nearly equal, other class")
    rows = [
        [name, share(v["crowded"]), share(v["lost_to_nms"]), v["nearly_equal"]["same_class"]]
        + [v["nearly_equal"]["other_class"]]
        for name, v in numbers["splits"].items()
    ]
    note = (
        f"Of objects that overlap one of their class by more than {nms}, suppression keeps one even if every detection "
        f"is perfect. Nearly equal: IoU of at least {numbers['same_box']}."
    )
    part.tables.append(Table("Crowding", heads, rows, note))
    if numbers.get("duplicates"):
        _duplicates(numbers["duplicates"], part)
    elif numbers.get("no_duplicates"):
        part.warnings.append(numbers["no_duplicates"])
    _suspicious(numbers.get("suspicious"), part)


def _duplicates(found: dict[str, Any], part: Part) -> None:
    for pair, count in found["across"].items():
        part.warnings.append(f"Pairs of near-duplicate pictures in {pair}: {count}. This is a leak: AP is too high.")
    if found["unreadable"]:
        part.warnings.append(f"Pictures that could not be read: {found['unreadable']}; imbdet check_data names them.")
    rows = [[name, count, share(found["leaked"].get(name))] for name, count in found["within"].items()]
    heads = ["split", "pairs within the split", "pictures that the training split has, too"]
    part.tables.append(Table("Near-duplicate pictures", heads, rows, "Also mirrored ones."))
    rows = [[*(f"{r[s][0]}: {r[s][2]}" for s in "ab"), "leak" if r["leak"] else "same split"] for r in found["pairs"]]
    part.tables.append(Table("", ["picture", "near-duplicate", "kind"], rows))


def _suspicious(found: dict[str, Any] | None, part: Part) -> None:
    if found:
        heads = ["kind", "class in the file", "the run says", "score", "IoU", "picture"]
        rows = [[r["kind"], r["label"], r["found"], r["score"], r["iou"], r["name"]] for r in found["rows"]]
        part.tables.append(Table("Suspicious labels", heads, rows, found["rule"]))
