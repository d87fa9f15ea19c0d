"""`write_comparison`: a comparison -> a page, Markdown, CSV and LaTeX.

    comparison_tables.py    rows, verdicts and the answer in words
    comparison_numbers.py   numbers as short text
    comparison_plots.py     forest plots, curves with bands, AP by class
    comparison_pictures.py  images on which two arms differ most
    comparison_formats.py   terminal, Markdown, CSV
    comparison_latex.py     LaTeX

Notable: nothing is computed here but the layout; equal comparisons give equal bytes, so that a report can be diffed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..compare.structures import BASELINE, Comparison
from ..write import write_whole
from . import comparison_numbers as numbers
from . import comparison_plots as plots
from . import comparison_tables as tables
from .comparison_formats import classes_csv, comparison_text, markdown, report_csv, runs_csv
from .comparison_latex import latex
from .html import from_here, render

__all__ = ["comparison_text", "write_comparison"]

MAX_PICTURES = 12
LONG_FACT = 60  #: characters; a longer fact (a command) stands at the end of the page, not in its head


def write_comparison(
    comparison: Comparison, out: str | Path, root: str | Path | None = None, records: Any = None
) -> dict[str, Path]:
    """Write the reports of a comparison into the folder `out`.

    Args:
        out: made if it does not exist; reports that are there are replaced, each at once.
        root: the comparison's folder, with `results.jsonl` or `runs/<arm>/seed_<s>`, for the page of pictures.
        records: the Records evaluated on; by default built from the config of a run.

    Returns:
        {"html", "md", "csv", "runs", "classes", "tex"} -> the file. `report.csv` has a row per arm and metric,
        `runs.csv` per arm, seed and metric, `classes.csv` per arm and class, all at full precision.
    """
    from .comparison_pictures import gallery

    if not comparison.arms:
        raise ValueError(f"the comparison {comparison.title!r} has no arms, so that there is nothing to report")
    out = Path(out)
    pairs, reasons = gallery(comparison, Path(root) if root is not None else None, records, MAX_PICTURES)
    page = describe(comparison) | {"pairs": pairs, "no_pictures": reasons}
    texts = {
        "html": ("report.html", render(page, "comparison.html")),
        "md": ("report.md", markdown(comparison)),
        "csv": ("report.csv", report_csv(comparison)),
        "runs": ("runs.csv", runs_csv(comparison)),
        "classes": ("classes.csv", classes_csv(comparison)),
        "tex": ("report.tex", latex(comparison)),
    }
    return {key: write_whole(out / name, text) for key, (name, text) in texts.items()}


def describe(comparison: Comparison) -> dict[str, Any]:
    """Everything of the page but the pictures, by the names that the template uses."""
    every = tables.rows(comparison)
    return {
        "comparison": comparison,
        "rows": every,
        "answer": tables.answer(comparison),
        "control_remarks": tables.control_remarks(comparison),
        "head": head(comparison),
        "facts": [(name, numbers.one_line(value)) for name, value in comparison.facts],
        "claim": tables.CLAIM,
        "metric_tables": tables.metric_groups(comparison),
        "costs": tables.costs(comparison),
        "mechanisms": [row for row in every if row.result.mechanism],
        "forests": plots.forests(comparison),
        "curves": plots.curve_plots(comparison),
        "class_plots": plots.class_plots(comparison) + plots.class_difference_plots(comparison),
        "classes": class_table(every),
        "listed": plots.LISTED_CLASSES,
        "looks": {name: look["color"] for name, look in plots.arm_looks(comparison).items()},
        "n": numbers,
        "lower": tables.LOWER_IS_BETTER,
        "kinds": tables.KINDS,
    }


def head(comparison: Comparison) -> list[tuple[str, str]]:
    """The facts that stand below the title: config, seeds, and those of the comparison that are short."""
    seeds = ", ".join(map(str, comparison.seeds))
    seeds = f"{len(comparison.seeds)} ({seeds})" if seeds else "none"
    facts = [("config", from_here(comparison.config)), ("seeds", seeds)]
    taken = {name for name, _ in facts}
    short = [(name, numbers.one_line(value)) for name, value in comparison.facts if name not in taken]
    return facts + [(name, value) for name, value in short if len(value) <= LONG_FACT]


def class_table(every: list[tables.Row]) -> dict[str, Any] | None:
    """AP of every class, the class with most train boxes first: names of the arms, and a line a class."""
    arms = [row for row in every if row.result.per_class]
    if not arms:
        return None
    found = {row.name: {one.get("name"): one for one in row.result.per_class} for row in arms}
    facts: dict[Any, dict[str, Any]] = {}
    for classes in found.values():
        for name, one in classes.items():
            facts.setdefault(name, one)
    order = sorted(facts, key=lambda name: (-(facts[name].get("train_boxes") or 0), str(name)))
    lines = [(facts[name], [found[row.name].get(name) for row in arms]) for name in order]
    return {"arms": arms, "lines": lines, "baseline": BASELINE}


def terminal_table(comparison: Any) -> str:
    """One row an arm, in points of AP: mean and deviation over seeds, difference with its interval, verdict."""
    from tabulate import tabulate

    rows = []
    for result in comparison.arms:
        difference = result.differences.get("AP")
        seeds = f"{len(result.seeds)}" + (f" ({len(result.failures)} failed)" if result.failures else "")
        row = [
            result.arm.name,
            seeds,
            numbers.points(result.means.get("AP")),
            numbers.points(result.deviations.get("AP")),
        ]
        if difference is None:
            rows.append([*row, "", "", ""])
            continue
        interval = numbers.interval(difference).replace(" to ", " .. ")
        rows.append([*row, numbers.signed(difference.mean), interval, difference.verdict])
    headers = ("arm", "seeds", "AP", "sd", "difference", "95 % interval", "verdict")
    return tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True)
