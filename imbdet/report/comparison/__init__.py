"""`write_comparison`: a comparison -> a page, Markdown, CSV and LaTeX.

    rows.py       rows, tables, verdicts and the answer in words
    formats.py    terminal, Markdown, LaTeX, CSV
    plots.py      forest plots, curves with bands, AP by class
    pictures.py   images on which two arms differ most

Nothing is computed here but the layout; equal comparisons give equal bytes, so that a report can be diffed.
"""

from pathlib import Path
from typing import Any

from ...compare.structures import BASELINE, Comparison
from ...evaluation.metrics import LOWER_IS_BETTER
from ...write import write_whole
from .. import numbers
from ..html import from_here, render
from . import plots, rows
from .formats import classes_csv, latex, markdown, report_csv, runs_csv, terminal
from .pictures import gallery

__all__ = ["terminal", "write_comparison"]

LONG_FACT = 60  #: characters; a longer fact (a command) stands at the end of the page, not in its head


def write_comparison(
    comparison: Comparison, out: str | Path, root: str | Path | None = None, records: Any = None
) -> dict[str, Path]:
    """Write the reports of a comparison into the folder `out`.

    Args:
        out: made if it does not exist; reports that are there are replaced, each at once.
        root: the comparison's folder, with `results.jsonl` or `runs/<arm>/seed_<s>`, for the page of pictures; default
            `out`.
        records: the Records evaluated on; by default built from the config of a run.

    Returns:
        {"html", "md", "csv", "runs", "classes", "tex"} -> the file. `report.csv` has a row per arm and metric,
        `runs.csv` per arm, seed and metric, `classes.csv` per arm and class, all at full precision.
    """
    if not comparison.arms:
        raise ValueError(f"the comparison {comparison.title!r} has no arms; there is nothing to report")
    out = Path(out)
    pairs, reasons = gallery(comparison, Path(root or out), records)
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
    """Return everything of the page but the pictures, by the names that the template uses."""
    every = rows.rows(comparison)
    return {
        "comparison": comparison,
        "rows": every,
        "answer": rows.answer(comparison),
        "control_notes": rows.control_notes(comparison),
        "head": head(comparison),
        "facts": [(name, numbers.one_line(value)) for name, value in comparison.facts],
        "claim": rows.CLAIM,
        "metric_tables": rows.metric_groups(comparison),
        "costs": rows.costs(comparison),
        "mechanisms": [row for row in every if row.result.mechanism],
        "forests": plots.forests(comparison),
        "curves": plots.curve_plots(comparison),
        "class_plots": plots.class_plots(comparison) + plots.class_difference_plots(comparison),
        "classes": class_table(every),
        "listed": plots.LISTED_CLASSES,
        "looks": {name: look["color"] for name, look in plots.arm_looks(comparison).items()},
        "n": numbers,
        "lower": LOWER_IS_BETTER,
        "kinds": rows.KINDS,
    }


def head(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the facts that stand below the title: config, seeds, and those of the comparison that are short."""
    seeds = ", ".join(map(str, comparison.seeds))
    seeds = f"{len(comparison.seeds)} ({seeds})" if seeds else "none"
    facts = [("config", from_here(comparison.config)), ("seeds", seeds)]
    taken = {name for name, _ in facts}
    short = [(name, numbers.one_line(value)) for name, value in comparison.facts if name not in taken]
    return facts + [(name, value) for name, value in short if len(value) <= LONG_FACT]


def class_table(every: list[rows.Row]) -> dict[str, Any] | None:
    """Return AP of every class, the class with most train boxes first: names of the arms, and a line a class."""
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
