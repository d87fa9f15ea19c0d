"""Curves and bars of a run as SVG that is put into the page as it is.

Notable: text stays text (no outlines), in the font of the page: a figure is a few kilobytes and can be searched. It is
drawn at the width of a telephone, and two stand side by side on a wide screen, so that no label becomes too small.
Matplotlib is used through its objects, not pyplot: nothing is left open and no backend of the caller is changed.
"""

import html
import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

from ..data.statistics import GROUPS
from ..evaluation.metrics import OF_GROUP
from .run import Run
from .tables import ClassRow

# Colors that remain apart for color-blind readers, dark enough on white.
INK, QUIET, GRID = "#1f2937", "#6b7280", "#e5e7eb"
BLUE, ORANGE, GREEN, RED, PURPLE, GRAY = "#2563eb", "#d97706", "#0f8a5f", "#c2334d", "#7c3aed", "#9ca3af"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, GRAY)
GROUP_COLORS = {"rare": RED, "common": ORANGE, "frequent": BLUE}
SIZE = (4.7, 2.9)  #: inches; 1 inch is 72 units of the SVG

STYLE = {
    "svg.fonttype": "none",
    "font.family": ["sans-serif"],
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": QUIET,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.labelcolor": INK,
    "figure.constrained_layout.use": True,
}


class Figure:
    """One small plot: `with Figure("Loss", x="iteration") as (figure, axes): ...`, then `figure.svg`."""

    def __init__(self, title: str, x: str = "", y: str = ""):
        self.title, self.x, self.y, self.svg = title, x, y, ""

    def __enter__(self):
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure as Canvas

        # The salt makes the ids inside this SVG its own: several share one page, and equal runs give equal bytes.
        self.context = matplotlib.rc_context({**STYLE, "svg.hashsalt": self.title})
        self.context.__enter__()
        figure = Canvas(figsize=SIZE)
        FigureCanvasSVG(figure)
        self.axes = figure.add_subplot(title=self.title, xlabel=self.x, ylabel=self.y)
        self.figure = figure
        return self, self.axes

    def __exit__(self, *error):
        try:
            if error[0] is None:
                text = io.StringIO()
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has other fonts
                    self.figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
                self.svg = embeddable(text.getvalue(), self.title)
        finally:
            self.context.__exit__(*error)


def embeddable(svg: str, title: str) -> str:
    """A matplotlib file -> an <svg> element that takes the width of its place and has a name for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    head, body = svg.split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    # Groups are named axes_1 in every figure; only names that something refers to are salted, and needed.
    used = set(re.findall(r"#([\w.-]+)", body))
    body = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", body)
    svg = f"{head}>{body}"
    label = html.escape(title.replace(r"\$", "$"))
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def loss_curve(run: Run) -> str:
    """Total and parts of the training loss, and the validation loss where there is one; "" without numbers."""
    names = [tag for tag in run.tags("train", "loss/") if tag != "loss/total"]
    if not run.series("train", "loss/total")[0]:
        return ""
    with Figure("Training loss", x="iteration") as (figure, axes):
        total, val = run.series("train", "loss/total"), run.series("val", "loss/total")
        axes.plot(*total, color=INK, label="total")
        if val[0]:
            axes.plot(*val, color=INK, linestyle="none", marker="o", markersize=4, label="total, val")
        for tag, color in zip(names, CYCLE, strict=False):
            axes.plot(*run.series("train", tag), color=color, linewidth=1.1, label=tag.removeprefix("loss/"))
        axes.set_ylim(0, _upper(total[1] + val[1]))
        _legend_below(axes, 6)
    return figure.svg


def ap_curve(run: Run) -> str:
    """AP, AP50 and AP of the class groups over the training; "" without an evaluation."""
    wanted = (
        ("AP/AP", INK, "AP"),
        ("AP/AP50", GRAY, "AP50"),
        *((f"AP/{OF_GROUP[group].name}", GROUP_COLORS[group], f"AP {group}") for group in GROUPS),
    )
    lines = [(run.series("val", tag), color, name) for tag, color, name in wanted]
    lines = [((x, [100 * value for value in y]), color, name) for (x, y), color, name in lines]
    lines = [line for line in lines if line[0][0]]
    if not lines:
        return ""
    with Figure("Average precision on val", x="iteration") as (figure, axes):
        for (x, y), color, name in lines:
            axes.plot(x, y, color=color, marker="o", markersize=3.5, label=name)
        axes.set_ylim(0, _upper([v for (_, y), _, _ in lines for v in y], margin=1.12))
        axes.set_xlim(0, max(run.iterations, 1) * 1.02)
        _legend_below(axes, 5)
    return figure.svg


def ap_against_count(rows: Sequence[ClassRow]) -> str:
    """One point a class: AP over its training boxes, on a log scale; "" if the counts are unknown."""
    points = [row for row in rows if row.ap is not None and row.train]
    if len(points) < 2:
        return ""
    with Figure("AP of a class over its train boxes", x="train boxes of the class (log)", y="AP") as (figure, axes):
        for group in (*GROUPS, None):
            own = [row for row in points if row.group == group]
            if own:
                color = GROUP_COLORS.get(group, GRAY)
                x, y = [row.train for row in own], [100 * row.ap for row in own]
                axes.scatter(x, y, s=26, color=color, label=group or "ungrouped")
        if len(points) <= 15:
            for row in points:
                place = (row.train, 100 * row.ap)
                look = {"fontsize": 7.5, "color": QUIET, "rotation": 35, "rotation_mode": "anchor"}
                axes.annotate(row.name, place, (4, 3), textcoords="offset points", **look)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(x=0.14)
        axes.set_ylim(0, _upper([100 * row.ap for row in points], margin=1.15))
        axes.legend(loc="upper left")
    return figure.svg


def share_plots(run: Run) -> list[str]:
    """Who makes the classification loss, one stacked plot for each criterion (RPN, RoI head ...)."""
    plots = []
    for name in criteria(run, "share/", "background"):
        groups = [g for g in GROUPS if run.series("train", f"share/{name}{g}")[0]]
        parts = ["background", *(groups or ["foreground"])]
        lines = [run.series("train", f"share/{name}{part}") for part in parts]
        common = sorted(set.intersection(*(set(x) for x, _ in lines)))
        values = [[dict(zip(x, y, strict=True))[i] for i in common] for x, y in lines]
        if len(common) < 2:
            continue
        title = f"Share of the classification loss{_of(name)}"
        with Figure(title, x="iteration") as (figure, axes):
            colors = [GRAY, *(GROUP_COLORS.get(part, BLUE) for part in parts[1:])]
            axes.stackplot(common, values, labels=parts, colors=colors, alpha=0.85, linewidth=0)
            axes.set_ylim(0, 1)
            axes.set_xlim(common[0], common[-1])
            _legend_below(axes, 4)
        plots.append(figure.svg)
    return plots


def positive_plots(run: Run) -> list[str]:
    """Positives per image and where on the pyramid they lie, one plot for each criterion."""
    plots = []
    for name in criteria(run, "positives/", "per_image"):
        levels = sorted(tag for tag in run.tags("train", f"positives/{name}level_"))
        with Figure(f"Positives per image{_of(name)}", x="iteration") as (figure, axes):
            axes.plot(*run.series("train", f"positives/{name}per_image"), color=INK, label="all")
            lines = [(tag, run.series("train", tag)) for tag in levels]
            lines = [(tag, line) for tag, line in lines if any(line[1])]
            for (tag, line), color in zip(lines if len(lines) > 1 else [], CYCLE, strict=False):
                axes.plot(*line, color=color, linewidth=1.1, label=f"level {tag.rsplit('_', 1)[-1]}")
            axes.set_ylim(0)
            _legend_below(axes, 6)
        plots.append(figure.svg)
    return plots


def iou_plots(run: Run) -> list[str]:
    """IoU of the positives before and after regression at the last report, one plot for each criterion."""
    plots = []
    for name in criteria(run, "iou/", "before"):
        before, after = run.last("train", f"iou/{name}before"), run.last("train", f"iou/{name}after")
        if not isinstance(before, list) or not isinstance(after, list) or not sum(before) + sum(after):
            continue
        width = 0.5 / len(before)
        lefts = [0.5 + width * i for i in range(len(before))]
        with Figure(f"IoU of the positives, last report{_of(name)}", x="IoU", y="positives") as (figure, axes):
            axes.bar(lefts, before, width * 0.94, align="edge", color=GRAY, label="before regression")
            axes.step([*lefts, 1.0], [*after, after[-1]], where="post", color=BLUE, label="after regression")
            axes.set_xlim(0.5, 1)
            _legend_below(axes, 2)
        plots.append(figure.svg)
    return plots


def criteria(run: Run, prefix: str, ending: str) -> list[str]:
    """What stands between prefix and ending in the tags of train: ["rpn_", "roi_"], or [""] if it has no name."""
    return [tag[len(prefix) : -len(ending)] for tag in run.tags("train", prefix) if tag.endswith(ending)]


def _of(name: str) -> str:
    names = {"rpn": "RPN", "roi": "RoI head"}
    return f", {names.get(name.strip('_'), name.strip('_'))}" if name else ""


def _legend_below(axes: Any, columns: int) -> None:
    """The legend under the plot, where it hides nothing."""
    axes.legend(
        ncols=columns,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        handlelength=1.1,
        columnspacing=1.1,
        handletextpad=0.4,
    )


def _upper(values: Sequence[Any], margin: float = 1.05) -> float:
    """An upper limit that a few wild first values do not decide."""
    ordered = sorted(values)
    return max(ordered[int(0.98 * (len(ordered) - 1))] if len(ordered) > 20 else ordered[-1], 1e-6) * margin
