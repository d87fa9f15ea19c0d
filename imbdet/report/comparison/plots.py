"""Plots of a comparison, in the manner of `plots`: inline SVG at the width of a telephone.

Notable: an arm has one color and one marker in all plots, and the baseline is ink. A plot takes at most five arms,
since more bands cannot be told apart; with more there are several plots, each with the baseline in it. Names are data:
they are drawn as they are, also where they hold a dollar or begin with an underscore.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from ...compare.structures import BASELINE, ArmResult, Comparison
from ...evaluation.metrics import BY_NAME
from .. import numbers
from ..plots import BLUE, GRAY, GREEN, GRID, INK, ORANGE, PURPLE, QUIET, RED, SIZE, Figure, _upper
from .rows import KINDS, Row, rows

ARM_COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED, "#0891b2", "#be185d", "#65a30d", "#92400e", "#475569")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
ARMS_A_PLOT = 5
VERDICT_COLORS = {"better": GREEN, "worse": RED, "none": QUIET, "one": GRAY, "failed": GRAY}
FORESTS = ("AP", "AP75", "APr", "APf")  #: metrics whose differences are drawn
LISTED_CLASSES = 30  #: up to so many classes are named one by one
SEEN_CLASSES = 150  #: up to so many are drawn as points


def forests(comparison: Comparison) -> list[str]:
    """Return a forest plot of the differences in the primary metric, and in each of `FORESTS` that is defined."""
    plots = [forest(comparison, metric) for metric in dict.fromkeys((comparison.primary, *FORESTS))]
    return [plot for plot in plots if plot]


def forest(comparison: Comparison, metric: str = "AP") -> str:
    """Return a line an arm: its name and numbers, the difference with its interval, the seeds as small dots; "" for
    none.
    """
    every = [row for row in rows(comparison) if metric in row.result.differences]
    if not every:
        return ""
    title = BY_NAME[metric].title if BY_NAME[metric].group else metric
    other = "the arm it is compared with" if any(row.against for row in every) else "baseline"
    which = "" if metric == comparison.primary else " (exploratory)"
    with Figure(f"Difference in {title}{which}", x=f"{title}: arm minus {other}, points") as (figure, axes):
        figure.figure.set_size_inches(SIZE[0], 0.75 + 0.47 * len(every))
        axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
        for y, row in zip(range(len(every) - 1, -1, -1), every, strict=True):
            _forest_line(axes, y, row, metric, seed_differences(comparison, row.result, metric))
        axes.set_ylim(-0.45, len(every) - 0.3)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.08)
        axes.grid(axis="y", visible=False)
    return figure.svg


def _forest_line(axes: Any, y: int, row: Row, metric: str, seeds: Sequence[float]) -> None:
    found = row.result.differences[metric]
    color = VERDICT_COLORS[KINDS.get(found.verdict, "none")]
    low_high = numbers.interval(found)
    if low_high:
        axes.plot([100 * found.low, 100 * found.high], [y, y], color=color, linewidth=2.2, solid_capstyle="butt")
        for end in (found.low, found.high):
            axes.plot([100 * end] * 2, [y - 0.09, y + 0.09], color=color, linewidth=1.4)
    if len(seeds) > 1:
        axes.plot([100 * v for v in seeds], [y - 0.2] * len(seeds), "o", color=color, alpha=0.55, markersize=2.6, mew=0)
    face = color if low_high else "white"
    axes.plot([100 * found.mean], [y], "o", color=color, markerfacecolor=face, markersize=6, zorder=3)
    name = ("↳ " if row.depth else "") + short(row.name, 40)
    shown = numbers.signed(found.mean) + (f"  [{low_high.replace(' to ', ', ')}]" if low_high else "")
    look = {"xycoords": ("axes fraction", "data"), "fontsize": 8, "va": "center", "annotation_clip": False}
    look["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    weight = "bold" if found.verdict in ("better", "worse") else "normal"
    axes.annotate(plain(name), (0, y + 0.36), color=INK, **look)
    axes.annotate(shown.replace("-", "−"), (1, y + 0.36), color=color, ha="right", weight=weight, **look)


def seed_differences(comparison: Comparison, result: ArmResult, metric: str) -> list[float]:
    """Return arm minus the arm it is compared with, for each seed that both have finished."""
    other = next((one for one in comparison.arms if one.arm.name == result.arm.compared_with), None)
    if other is None:
        return []
    mine = dict(zip(result.seeds, result.values.get(metric, []), strict=False))
    theirs = dict(zip(other.seeds, other.values.get(metric, []), strict=False))
    return [mine[s] - theirs[s] for s in mine if numbers.known(mine[s]) and numbers.known(theirs.get(s))]


def curve_plots(comparison: Comparison) -> list[str]:
    """Return the mean of every curve and the 95 % interval of the mean, losses first."""
    tags = list(dict.fromkeys(tag for result in comparison.arms for tag in result.curves))
    ordered = sorted(tags, key=lambda tag: ("loss/total" not in tag, "AP/AP" not in tag))
    return [plot for tag in ordered for plot in _curves(comparison, tag)]


def _curves(comparison: Comparison, tag: str) -> list[str]:
    with_curve = [result for result in comparison.arms if result.curves.get(tag, {}).get("iterations")]
    scale, plots = 100 if "AP/" in tag else 1, []
    for part, arms in _numbered(panels(comparison, with_curve)):
        with Figure(plain(_curve_title(tag) + part), x="iteration") as (figure, axes):
            highs = []
            for result, look in arms:
                curve = result.curves[tag]
                mean = _scaled(curve["mean"], scale)
                low, high = (_scaled(curve.get(end) or curve["mean"], scale) for end in ("low", "high"))
                axes.fill_between(curve["iterations"], low, high, color=look["color"], alpha=0.16, linewidth=0)
                marker = {"marker": look["marker"], "markersize": 3} if len(mean) <= 12 else {}
                line = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 1.4}
                axes.plot(curve["iterations"], mean, label=legend_name(result.arm.name), **line, **marker)
                highs += [value for value in high if math.isfinite(value)]
            axes.xaxis.get_major_locator().set_params(integer=True)
            if highs and "loss/" in tag:
                axes.set_ylim(0, _upper(highs, 1.08))
            _legend(axes)
        plots.append(figure.svg)
    return plots


def _curve_title(tag: str) -> str:
    known = {"AP/AP": "AP on val", "loss/total": "Training loss", "AP/APr": "AP of rare classes on val"}
    ending = next((key for key in known if tag == key or tag.endswith("/" + key)), None)
    if ending == "loss/total" and tag.startswith("val"):
        return "Validation loss"
    return known[ending] if ending else tag


def _scaled(values: Sequence[Any], scale: float) -> list[float]:
    return [scale * v if numbers.known(v) else math.nan for v in values]


def class_plots(comparison: Comparison) -> list[str]:
    """Return AP of each class over its train boxes: the baseline and the arms; a line where classes are too many to
    name.
    """
    with_classes = [result for result in comparison.arms if len(_class_points(result, "AP")[0]) > 1]
    return [
        _over_boxes(arms, f"AP of a class over its train boxes{part}", "AP", "AP")
        for part, arms in _numbered(panels(comparison, with_classes))
    ]


def _over_boxes(arms: Sequence[tuple[ArmResult, dict]], title: str, y: str, key: str) -> str:
    """What classes have under `key`, "AP" or "difference", over their train boxes."""
    with Figure(title, x="train boxes of the class (log)", y=y) as (figure, axes):
        if key == "difference":
            axes.axhline(0, color=INK, linewidth=0.9, zorder=1)
        for result, look in arms:
            _cloud(axes, *_class_points(result, key), look, legend_name(result.arm.name))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        if key == "AP":
            values = [v for result, _ in arms for v in _class_points(result, key)[1]]
            axes.set_ylim(0, _upper(values, 1.12) if len(values) <= SEEN_CLASSES * len(arms) else None)
        _legend(axes)
    return figure.svg


def _cloud(axes: Any, x: Sequence[float], y: Sequence[float], look: dict[str, Any], name: str) -> None:
    """Points joined in the order of frequency; where they are many, the means of `binned` with two standard errors."""
    few = len(x) <= LISTED_CLASSES
    style = {"color": look["color"], "marker": look["marker"], "markersize": 4.2 if few else 2.4, "mew": 0}
    if few:
        axes.plot(x, y, linewidth=0.9, linestyle=look["linestyle"], label=name, **style)
        return
    if len(x) <= SEEN_CLASSES:
        axes.plot(x, y, linestyle="none", alpha=0.3, **style)
    centers, means, errors = binned(x, y)
    low, high = ([mean + side * error for mean, error in zip(means, errors, strict=True)] for side in (-2, 2))
    axes.fill_between(centers, low, high, color=look["color"], alpha=0.13, linewidth=0)
    axes.plot(centers, means, color=look["color"], linestyle=look["linestyle"], linewidth=1.6, label=name)


def binned(x: Sequence[float], y: Sequence[float], bins: int = 10) -> tuple[list[float], list[float], list[float]]:
    """Return the geometric means of x, means of y and their standard errors, in bins of equal numbers of points, x
    ascending.
    """
    order = sorted(range(len(x)), key=lambda i: x[i])
    parts = [order[len(order) * k // bins : len(order) * (k + 1) // bins] for k in range(bins)]
    parts = [part for part in parts if part]
    centers = [math.exp(sum(math.log(x[i]) for i in part) / len(part)) for part in parts]
    values = [[y[i] for i in part] for part in parts]
    errors = [statistics.stdev(part) / math.sqrt(len(part)) if len(part) > 1 else 0.0 for part in values]
    return centers, [statistics.fmean(part) for part in values], errors


def _class_points(result: ArmResult, key: str) -> tuple[list[float], list[float]]:
    """Train boxes and points of the classes that have both, rare ones first."""
    rows = [row for row in result.per_class if row.get("train_boxes") and numbers.known(row.get(key))]
    rows.sort(key=lambda row: row["train_boxes"])
    return [row["train_boxes"] for row in rows], [100 * row[key] for row in rows]


def class_difference_plots(comparison: Comparison) -> list[str]:
    """Return the difference of every class: a line a class where they can be named, else over the train boxes."""
    others = [r for r in comparison.arms if any(numbers.known(row.get("difference")) for row in r.per_class)]
    plots = []
    for part, arms in _numbered(panels(comparison, others, with_baseline=False)):
        title, names = f"Difference of each class{part}", _classes([result for result, _ in arms])
        if len(names) <= LISTED_CLASSES:
            plots.append(_named_differences(arms, names, title))
        else:
            plots.append(_over_boxes(arms, title, "AP: arm minus baseline", "difference"))
    return plots


def _classes(results: Sequence[ArmResult]) -> list[str]:
    """Names of the classes with a difference, the class with fewest train boxes first."""
    boxes = {row["name"]: row.get("train_boxes") or 0 for r in results for row in r.per_class if _moved(row)}
    return sorted(boxes, key=lambda name: (boxes[name], name))


def _moved(row: dict[str, Any]) -> bool:
    return numbers.known(row.get("difference"))


def _named_differences(arms: Sequence[tuple[ArmResult, dict]], names: Sequence[str], title: str) -> str:
    with Figure(title, x="AP: arm minus baseline, points") as (figure, axes):
        figure.figure.set_size_inches(SIZE[0], max(SIZE[1], 1.0 + 0.2 * len(names) + 0.16 * len(arms)))
        axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
        step = 0.6 / max(len(arms), 1)
        for k, (result, look) in enumerate(arms):
            moved = {row["name"]: 100 * row["difference"] for row in result.per_class if _moved(row)}
            y = [names.index(name) + step * ((len(arms) - 1) / 2 - k) for name in moved]
            style = {"color": look["color"], "marker": look["marker"], "markersize": 4.2, "mew": 0}
            axes.plot(list(moved.values()), y, linestyle="none", label=legend_name(result.arm.name), **style)
        axes.set_yticks(range(len(names)), [plain(short(name, 22)) for name in names], fontsize=8)
        axes.set_ylim(-0.6, len(names) - 0.4)
        for y in range(0, len(names), 2):
            axes.axhspan(y - 0.5, y + 0.5, color=GRID, alpha=0.35, linewidth=0, zorder=0)
        axes.grid(axis="y", visible=False)
        _legend(axes)
    return figure.svg


def panels(
    comparison: Comparison, wanted: Sequence[ArmResult], with_baseline: bool = True
) -> list[list[tuple[ArmResult, dict[str, Any]]]]:
    """Return `wanted` arms with their look, in groups of at most five, the baseline (if wanted) in front of each
    group.
    """
    ids = {id(result) for result in wanted}
    looks = arm_looks(comparison)
    first: list[tuple[ArmResult, dict[str, Any]]] = []
    units: list[list[tuple[ArmResult, dict[str, Any]]]] = []  # an arm and its controls, which stay together
    for row in rows(comparison):
        if row.name == BASELINE:
            first += [(row.result, looks[row.name])] if id(row.result) in ids and with_baseline else []
            continue
        units += [[]] if row.depth == 0 or not units else []
        units[-1] += [(row.result, looks[row.name])] if id(row.result) in ids else []
    total = sum(map(len, units))
    even = -(-total // max(1, -(-total // ARMS_A_PLOT)))
    parts: list[list[tuple[ArmResult, dict[str, Any]]]] = []
    for unit in units:
        if not parts or len(parts[-1]) >= even or len(parts[-1]) + len(unit) > ARMS_A_PLOT:
            parts.append([])
        parts[-1] += unit
    parts = [part for part in parts if part] or ([[]] if first else [])
    return [first + part for part in parts]


def _numbered(groups: Sequence[Sequence]) -> list[tuple[str, Sequence]]:
    """Each group with what its title says of it: " (1 of 3)", "" where it is the only one."""
    return [(f" ({k} of {len(groups)})" if len(groups) > 1 else "", group) for k, group in enumerate(groups, start=1)]


def arm_looks(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Return color, marker and line of each arm: ink for the baseline, dashed for controls."""
    looks: dict[str, dict[str, Any]] = {}
    for row in rows(comparison):
        k = sum(name != BASELINE for name in looks) % len(ARM_COLORS)
        baseline = row.name == BASELINE
        looks[row.name] = {
            "color": INK if baseline else ARM_COLORS[k],
            "marker": "o" if baseline else MARKERS[k],
            "linestyle": (0, (4, 1.5)) if row.control_of else "-",
        }
    return looks


def plain(text: str) -> str:
    """Return a name as matplotlib draws it as it is: dollars would begin a formula."""
    return numbers.one_line(text).replace("$", r"\$")


def short(text: str, width: int) -> str:
    line = numbers.one_line(text)
    return line if len(line) <= width else line[: width - 1] + "…"


def legend_name(name: str) -> str:
    """Return the name on at most two lines, broken at a plus where there is one. A name that begins with an
    underscore would be left
    out of a legend."""
    line = short(name, 56)
    at = line.find("+") + 1 or max(line.rfind(mark, 0, 28) + 1 for mark in " _") or 28
    lines = [plain(line)] if len(line) <= 28 else [plain(line[:at]), plain(line[at:])]
    text = "\n".join(part for part in lines if part) or " "
    return "\u200a" + text if text.startswith("_") else text


def _legend(axes: Any) -> None:
    """Under the plot, in as many columns as fit; the figure grows by what the legend takes."""
    handles, names = axes.get_legend_handles_labels()
    longest = max((len(line) for name in names for line in name.split("\n")), default=1)
    columns = max(1, min(len(names), 74 // (longest + 7)))
    look = {"handlelength": 1.6, "columnspacing": 1.3, "handletextpad": 0.5}
    axes.figure.legend(handles, names, loc="outside lower center", ncols=columns, **look)
    lines = sum(max(name.count("\n") + 1 for name in names[i::columns]) for i in range(columns)) if names else 0
    width, height = axes.figure.get_size_inches()
    axes.figure.set_size_inches(width, height + 0.16 * (-(-lines // columns) - 1))
