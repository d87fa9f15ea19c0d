r"""A comparison as text: terminal, Markdown, LaTeX and CSV.

CSV holds every number at full precision and None as an empty field; the others show points in two decimals. Names are
put into Markdown as code, where nothing but a pipe and a backtick means anything, and into LaTeX escaped. The LaTeX
tables are to be `\input`; they need the package booktabs and nothing besides.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tabulate import tabulate

from ...compare.structures import BASELINE, ArmResult, Comparison
from ...evaluation.metrics import COMPARED
from .. import numbers
from ..html import from_here
from .rows import (
    Row,
    Table,
    all_notes,
    answer,
    cost_table,
    mechanism_table,
    metric_tables,
    rows,
    verdict_table,
)

REPORT_FIELDS = (
    "arm compared_with control_of seeds metric mean sd difference low high p_better p p_family seed_sd image_sd "
    "verdict seeds_needed exploratory"
).split()
RUN_FIELDS = ("arm", "seed", "status", "metric", "value", "reason")
CLASS_FIELDS = ("arm", "class", "group", "train_boxes", "AP", "sd", "difference")
LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: rf"\{letter}" for letter in "{}$&#%_"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "--": r"-{}-",  # the rest would be joined to a dash, a quotation mark or a Spanish one
    "`": "{`}",
    "'": "{'}",
    '"': '{"}',
    "[": "{[}",  # after \\ these begin an argument of it
    "]": "{]}",
    "*": "{*}",
    "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "²": r"\textsuperscript{2}",
    "≥": r"\ensuremath{\geq}",
    "≤": r"\ensuremath{\leq}",
    "↓": r"\ensuremath{\downarrow}",
    "↳": r"\ensuremath{\hookrightarrow}",
    "–": "--",
}
_LATEX = re.compile("|".join(re.escape(key) for key in LATEX))


def _written(table: Table, form: str, name: Callable, text: Callable, bold: str, tag: Callable = str) -> str:
    """The table in one of tabulate's formats. name: Row -> its first cell; text, tag: escape words and other names."""
    body = []
    for k, (row, cells) in enumerate(table.lines):
        escaped = [name(row), *((tag if c < table.named else text)(cell) for c, cell in enumerate(cells, start=1))]
        body.append([bold.format(c) if (k, column) in table.strong else c for column, c in enumerate(escaped)])
    return tabulate(body, [*map(text, table.heads)], form, colalign=table.align, disable_numparse=True)


def terminal(comparison: Comparison) -> str:
    """Return one row an arm, in points of AP: mean and deviation over seeds, difference with its interval, verdict."""
    table, lines = verdict_table(rows(comparison)), []
    for row, (seeds, ap, difference, interval, *_) in table.lines:
        failed = f" ({len(row.result.failures)} failed)" if row.result.failures else ""
        lines.append((row, [seeds + failed, ap, difference, interval, row.verdict]))
    table = Table([*table.heads[:5], "verdict"], [*table.align[:5], "left"], lines)  # without the probabilities
    return _written(table, "simple", lambda row: ("↳ " if row.depth else "") + numbers.one_line(row.name), str, "{}")


def _pipe(table: Table) -> str:
    return _written(table, "pipe", lambda row: ("↳ " if row.depth else "") + code(row.name), prose, "**{}**", code)


def markdown(comparison: Comparison) -> str:
    """Return the whole comparison but curves, classes and pictures."""
    every = rows(comparison)
    facts = [("config", code(from_here(comparison.config))), ("seeds", ", ".join(map(str, comparison.seeds)))]
    facts += [(prose(name), prose(value)) for name, value in comparison.facts]
    if comparison.group_rule:
        facts.append(("groups of classes", prose(comparison.group_rule)))
    notes = [f"{code(name)}: {prose(text)}" if name else prose(text) for name, text in all_notes(comparison)]
    metrics, cost, mechanism = metric_tables(every, comparison), cost_table(every, comparison), mechanism_table(every)
    parts = [
        f"# {prose(comparison.title)}",
        f"**{prose(answer(comparison))}**",
        _bullets(f"{name}: {value}" for name, value in facts),
        "## Verdicts",
        _pipe(verdict_table(every)),
        "In points of 100. Difference: arm minus the arm it is compared with, paired by seed and image. The interval "
        "holds the noise of seeds, estimated from all arms together, and of images "
        f"({comparison.draws} draws of a bootstrap); it is true of all remedies at once, as p is; controls are judged "
        f"apart. {comparison.primary} is the primary metric; all others are exploratory.",
        *(["## Notes", _bullets(notes)] if notes else []),
    ]
    if metrics:
        legend = (
            "Mean ± standard deviation over seeds, in points of 100; ↓: less is better. All but "
            f"{comparison.primary} are exploratory: bold by an interval that holds for this arm and metric alone."
        )
        parts += ["## All metrics", *map(_pipe, metrics), legend]
    parts += ["## Cost", _pipe(cost)] if cost else []
    parts += ["## Mechanism", _pipe(mechanism)] if mechanism else []
    return "\n\n".join(parts) + "\n"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def code(text: object) -> str:
    """Return a code span that also a table takes: a pipe would end its cell."""
    line = numbers.one_line(str(text))
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{space}{line}{space}{fence}".replace("|", r"\|")


def prose(text: object) -> str:
    """Return text in which nothing is markup. An underscore within a word, or before a figure, means nothing anyway."""
    line = re.sub(r"([\\`*\[\]<>|&#])", r"\\\1", numbers.one_line(str(text)))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)


def latex(comparison: Comparison) -> str:
    """Return the table of verdicts, and tables of all metrics; bold where the verdict on that very metric is
    "better".
    """
    every = rows(comparison)
    caption = (
        f"{escape(comparison.title)}: {escape(answer(comparison))} Mean and standard deviation over seeds "
        f"({', '.join(map(str, comparison.seeds))}), in points of 100; paired difference with its 95\\,\\% interval "
        f"over seeds and images ({comparison.draws} draws of a bootstrap), simultaneous for all remedies, as $p$ is; "
        "after ``no evidence'' the number of seeds that would tell."
    )
    notes = [f"{escape(name)}: {escape(text)}." for name, text in all_notes(comparison) if name]
    parts = [
        f"% {numbers.one_line(comparison.title)}\n"
        "% Put \\usepackage{booktabs} into the preamble, and \\input this file. Written by imbdet.",
        _float(_short(verdict_table(every)), caption, "tab:comparison", notes),
    ]
    legend = "Mean and standard deviation over seeds, in points of 100; bold: better than the arm it is compared with. "
    for number, table in enumerate(metric_tables(every, comparison), start=1):
        parts.append(_float(table, legend + r"$\downarrow$: less is better.", f"tab:comparison-metrics-{number}", []))
    return "\n\n".join(parts) + "\n"


def _short(table: Table) -> Table:
    """The verdicts as an article's width takes them: without P(better), hints as the number of seeds alone."""
    lines = []
    for row, cells in table.lines:
        needed = row.difference.seeds_needed if row.hint else None
        verdict = row.verdict + (f" ({needed})" if needed is not None else "")
        lines.append((row, [*cells[:4], cells[5], verdict]))
    strong = frozenset((k, column - (column > 5)) for k, column in table.strong)
    return replace(
        table,
        heads=[*table.heads[:5], "p", "verdict"],
        align=[*table.align[:5], *table.align[6:]],
        lines=lines,
        strong=strong,
    )


def _float(table: Table, caption: str, label: str, notes: Sequence[str]) -> str:
    text = _written(table, "latex_raw", _broken, escape, r"\textbf{{{}}}")
    rules = iter(("toprule", "midrule", "bottomrule"))
    text = re.sub(r"\\hline", lambda _: "\\" + next(rules), text)
    width = {7: 0.2, 8: 0.2, 6: 0.28}.get(len(table.heads), 0.36)  # what the numbers leave of an article's 345 pt
    text = text.replace("{tabular}{l", rf"{{tabular}}{{p{{{width}\linewidth}}", 1)
    below = [r"\par\smallskip\raggedright\scriptsize", *notes] if notes else []
    parts = [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}",
        rf"\caption{{{caption}}}\par\smallskip",
        rf"\label{{{label}}}",
        text,
        *below,
        r"\end{table}",
    ]
    return "\n".join(parts)


def _broken(row: Row) -> str:
    """A name in a column of fixed width, to be broken where its words meet."""
    words = re.sub(r"(\\_|\+|/)", r"\1\\allowbreak{}", escape(("↳ " if row.depth else "") + row.name))
    return r"\raggedright\hspace{0pt}" + words


def escape(text: object) -> str:
    """Return text that LaTeX prints as it is, on one line; a minus before a figure is one."""
    line = _LATEX.sub(lambda found: LATEX[found[0]], numbers.one_line(str(text)))
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", line)


def report_csv(comparison: Comparison) -> str:
    """Return one row per arm and metric, then its costs and meters; an arm without finished seeds has a row that says
    so.
    """
    lines = []
    for row in rows(comparison):
        result = row.result
        arm = {"arm": row.name, "control_of": row.control_of, "seeds": len(result.seeds)}
        arm["compared_with"] = "" if row.name == BASELINE else result.arm.compared_with
        metrics = dict.fromkeys((*(m for m in COMPARED if m in result.means), *result.means, *result.differences))
        for metric in metrics:
            lines.append(arm | {"metric": metric} | _metric_fields(result, metric))
        lines += [arm | {"metric": f"cost/{key}", "mean": value} for key, value in result.cost.items()]
        for meter in result.mechanism:
            old, new = meter.get("baseline"), meter.get("arm")
            gap = new - old if numbers.known(old) and numbers.known(new) else None
            lines.append(arm | {"metric": f"meter/{meter.get('tag')}", "mean": new, "difference": gap})
        if not metrics:
            lines.append(arm | {"metric": row.metric, "verdict": row.words})
    return _csv(REPORT_FIELDS, lines)


def _metric_fields(result: ArmResult, metric: str) -> dict[str, object]:
    fields: dict[str, object] = {"mean": result.means.get(metric), "sd": result.deviations.get(metric)}
    found = result.differences.get(metric)
    if found is not None:
        names = ("low", "high", "p_better", "p_family", "seed_sd", "image_sd", "verdict", "seeds_needed", "exploratory")
        fields |= {name: getattr(found, name) for name in names} | {"difference": found.mean, "p": found.p_value}
    return fields


def runs_csv(comparison: Comparison) -> str:
    """Return one row per arm, seed and metric; a failed cell is a row with its reason."""
    lines = []
    for row in rows(comparison):
        result = row.result
        for metric, values in result.values.items():
            for seed, value in zip(result.seeds, values, strict=True):
                lines.append({"arm": row.name, "seed": seed, "status": "finished", "metric": metric, "value": value})
        for seed, reason in result.failures:
            lines.append({"arm": row.name, "seed": seed, "status": "failed", "reason": reason})
    return _csv(RUN_FIELDS, lines)


def classes_csv(comparison: Comparison) -> str:
    """Return one row per arm and class."""
    lines = []
    for row in rows(comparison):
        for one in row.result.per_class:
            fields = {name: one.get(name) for name in ("group", "train_boxes", "AP", "sd", "difference")}
            lines.append({"arm": row.name, "class": one.get("name"), **fields})
    return _csv(CLASS_FIELDS, lines)


def _csv(fields: Sequence[str], lines: Iterable[dict[str, object]]) -> str:
    """Floats as Python's shortest text that reads back equal."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
