r"""A comparison as LaTeX: tables to be `\input`, which need the package booktabs and nothing besides.

Notable: a number is bold only where the verdict on that very metric is "better". Names are escaped so that no character
of them means anything to LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..compare.structures import Comparison
from . import comparison_numbers as numbers
from . import comparison_tables as tables
from .comparison_tables import Row

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
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
    "–": "--",
}
_PATTERN = re.compile("|".join(re.escape(key) for key in _ESCAPES))

COLUMNS = 7  #: metrics side by side, which the text of an article just takes


def latex(comparison: Comparison) -> str:
    """The table of verdicts, and tables of all metrics."""
    every = tables.rows(comparison)
    head = (
        f"% {numbers.one_line(comparison.title)}\n"
        "% Put \\usepackage{booktabs} into the preamble, and \\input this file. Written by imbdet."
    )
    parts = [head, _verdicts(every, comparison)]
    parts += [
        _metrics(every, groups, number)
        for number, groups in enumerate(tables.side_by_side(comparison, COLUMNS), start=1)
    ]
    return "\n\n".join(parts) + "\n"


def escape(text: object) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return _PATTERN.sub(lambda found: _ESCAPES[found[0]], numbers.one_line(str(text)))


def _verdicts(every: Sequence[Row], comparison: Comparison) -> str:
    seeds = ", ".join(map(str, comparison.seeds))
    caption = (
        f"{escape(comparison.title)}: {escape(tables.answer(comparison))} Mean and standard deviation over seeds "
        f"({escape(seeds)}), in points of 100; paired difference with its 95\\,\\% interval over seeds and "
        f"images ({comparison.draws} draws of a bootstrap); $p$ after Holm's correction over the arms; behind a "
        "missing evidence the number of seeds that it would take."
    )
    heads = ("Arm", "Seeds", "AP", r"$\Delta$AP", r"95\,\% interval", "$p$", "Verdict")
    lines = [" & ".join(heads) + r" \\", r"\midrule", *(_verdict_line(row) for row in every)]
    remarks = [f"{escape(name)}: {escape(text)}." for name, text in tables.remarks(comparison) if name]
    return _table("rrrrrl", lines, caption, "tab:comparison", remarks)


def _verdict_line(row: Row) -> str:
    found, best = row.difference, row.kind == "better"
    cells = [_name(row), row.seeds, _bold(_mean_sd(row.mean, row.sd, 1), best)]
    if found is None:
        cells += ["--"] * 3
    else:
        low_high = f"$[{numbers.signed(found.low)}, {numbers.signed(found.high)}]$" if numbers.interval(found) else "--"
        p = numbers.p_value(found.p_holm)
        cells += [_bold(f"${numbers.signed(found.mean)}$", best), low_high, f"${p}$" if p != numbers.DASH else "--"]
    needed = f" ({found.seeds_needed})" if row.hint and found.seeds_needed is not None else ""
    return " & ".join([*cells, _bold(escape(row.verdict) + needed, best)]) + r" \\"


def _metrics(every: Sequence[Row], groups: list[tuple[str, list[tuple[str, str]]]], number: int) -> str:
    top, rules, at = [""], [], 2
    for title, columns in groups:
        top.append(rf"\multicolumn{{{len(columns)}}}{{c}}{{{escape(title)}}}")
        rules += [rf"\cmidrule(lr){{{at}-{at + len(columns) - 1}}}"] if title else []
        at += len(columns)
    metrics = [column for _, columns in groups for column in columns]
    heads = [_heading(metric, heading) for metric, heading in metrics]
    lines = [" & ".join(top) + r" \\", "".join(rules), " & ".join(["Arm", *heads]) + r" \\", r"\midrule"]
    for row in every:
        cells = [_name(row)]
        for metric, _ in metrics:
            found = row.result.differences.get(metric)
            value = _mean_sd(row.result.means.get(metric), row.result.deviations.get(metric), 1)
            cells.append(_bold(value, found is not None and found.verdict == "better"))
        lines.append(" & ".join(cells) + r" \\")
    caption = (
        "Mean and standard deviation over seeds, in points of 100; bold: better than the arm it is compared with. "
        r"$\downarrow$: less is better."
    )
    return _table("r" * len(metrics), lines, caption, f"tab:comparison-metrics-{number}", [])


def _heading(metric: str, heading: str) -> str:
    return escape(heading) + (r"\,$\downarrow$" if metric in tables.LOWER_IS_BETTER else "")


def _name(row: Row) -> str:
    """In a column of fixed width, to be broken where its words meet; the column is not the last, so that its
    \\raggedright does not touch the row's end."""
    words = re.sub(r"(\\_|\+|/)", r"\1\\allowbreak{}", escape(row.name))
    return r"\raggedright\hspace{0pt}" + (r"$\hookrightarrow$ " if row.depth else "") + words


def _mean_sd(mean: float | None, sd: float | None, digits: int) -> str:
    spread = (
        rf"\,{{\scriptsize$\pm$\,{numbers.points(sd, digits)}}}" if numbers.known(mean) and numbers.known(sd) else ""
    )
    value = numbers.points(mean, digits)
    return ("--" if value == numbers.DASH else value) + spread


def _bold(text: str, yes: bool) -> str:
    r"""Also what stands in math: \boldmath is no command for a part of a formula, \mathbf is."""
    if not yes:
        return text
    math = text.startswith("$") and text.endswith("$")
    return rf"$\mathbf{{{text[1:-1]}}}$" if math else rf"\textbf{{{text}}}"


def _table(shape: str, lines: Sequence[str], caption: str, label: str, remarks: Sequence[str]) -> str:
    below = [r"\par\smallskip\raggedright\scriptsize", *remarks] if remarks else []
    width = {7: 0.16, 6: 0.2, 5: 0.28}.get(len(shape), 0.36)  # what the numbers leave of an article's 345 pt
    parts = [
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{2.5pt}",
        rf"\caption{{{caption}}}\par\smallskip",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{@{{}}p{{{width}\linewidth}}{shape}@{{}}}}",
        r"\toprule",
        *(line for line in lines if line),
        r"\bottomrule",
        r"\end{tabular}",
        *below,
        r"\end{table}",
    ]
    return "\n".join(parts)
