"""A comparison as text: terminal, Markdown, and CSV (LaTeX is in `comparison_latex`).

Notable: CSV holds every number at full precision and None as an empty field; Markdown and the terminal show points in
two decimals. Names are put into Markdown as code, where nothing but a pipe and a backtick means anything, so that they
are read in a terminal as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from ..compare.structures import BASELINE, ArmResult, Comparison
from . import comparison_numbers as numbers
from . import comparison_tables as tables
from .comparison_numbers import DASH
from .comparison_tables import Row
from .html import from_here

VERDICT_HEADS = ("arm", "seeds", "AP", "difference", "95 % interval", "P(better)", "p (Holm)", "verdict")
VERDICT_ALIGN = ("left", "right", "right", "right", "right", "right", "right", "left")
REPORT_FIELDS = (
    "arm compared_with control_of seeds metric mean sd difference low high p_better p p_holm seed_sd image_sd verdict "
    "seeds_needed"
).split()
RUN_FIELDS = ("arm", "seed", "status", "metric", "value", "reason")
CLASS_FIELDS = ("arm", "class", "group", "train_boxes", "AP", "sd", "difference")


def comparison_text(comparison: Comparison) -> str:
    """The answer, the main table with the verdicts, and what a reader must know, for the terminal."""
    from tabulate import tabulate

    every = tables.rows(comparison)
    body = [_verdict_cells(row, _listed(row)) for row in every]
    table = tabulate(body, VERDICT_HEADS, tablefmt="simple", colalign=VERDICT_ALIGN, disable_numparse=True)
    parts = [
        f"{numbers.one_line(comparison.title)}\n{tables.answer(comparison)}",
        table,
        _means_table(every, comparison),
        "In points of 100" + (", mean ± standard deviation over seeds." if len(comparison.seeds) > 1 else "."),
        "\n".join(
            f"note: {numbers.one_line(name)}: {text}" if name else f"note: {text}"
            for name, text in tables.remarks(comparison)
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def _means_table(every: Sequence[Row], comparison: Comparison) -> str:
    """Means of AP at other IoUs, sizes and frequencies, and oLRP: what one line of a terminal takes."""
    from tabulate import tabulate

    reported = {metric for result in comparison.arms for metric in result.means}
    metrics = [metric for metric in tables.KNOWN if metric in reported and metric[0] != "d"]
    body = [[_listed(row), *(numbers.points(row.result.means.get(m), 1) for m in metrics)] for row in every]
    heads, align = ["arm", *map(_heading, metrics)], ["left", *["right"] * len(metrics)]
    return tabulate(body, heads, tablefmt="simple", colalign=align, disable_numparse=True) if metrics else ""


def _listed(row: Row) -> str:
    return ("↳ " if row.depth else "") + numbers.one_line(row.name)


def _heading(metric: str) -> str:
    return metric + (" ↓" if metric in tables.LOWER_IS_BETTER else "")


def _verdict_cells(row: Row, name: str) -> list[str]:
    found = row.difference
    cells = [DASH] * 4
    if found is not None:
        cells = [numbers.signed(found.mean), numbers.interval(found) or DASH]
        cells += [numbers.probability(found.p_better), numbers.p_value(found.p_holm)]
    return [name, row.seeds, numbers.mean_sd(row.mean, row.sd), *cells, row.words]


def _metric_tables(every: Sequence[Row], comparison: Comparison) -> list[str]:
    """Tables of mean ± sd of all metrics."""
    from tabulate import tabulate

    texts = []
    for groups in tables.side_by_side(comparison):
        metrics = [metric for _, columns in groups for metric, _ in columns]
        body = [[_indented(row), *(_mean_sd(row.result, metric) for metric in metrics)] for row in every]
        heads, align = ["arm", *map(_heading, metrics)], ["left", *["right"] * len(metrics)]
        texts.append(tabulate(body, heads, tablefmt="pipe", colalign=align, disable_numparse=True))
    return texts


def _mean_sd(result: ArmResult, metric: str) -> str:
    return numbers.mean_sd(result.means.get(metric), result.deviations.get(metric), 1)


def markdown(comparison: Comparison) -> str:
    """The whole comparison but curves, classes and pictures."""
    every = tables.rows(comparison)
    facts = [("config", code(from_here(comparison.config))), ("seeds", ", ".join(map(str, comparison.seeds)))]
    facts += [(prose(name), prose(value)) for name, value in comparison.facts]
    if comparison.group_rule:
        facts.append(("groups of classes", prose(comparison.group_rule)))
    parts = [f"# {prose(comparison.title)}", f"**{prose(tables.answer(comparison))}**"]
    parts.append(_bullets(f"{name}: {value}" for name, value in facts))
    parts += ["## Verdicts", _verdict_table(every)]
    parts.append(
        "In points of 100. Difference: arm minus the arm it is compared with, paired by seed and image; the interval "
        f"holds the noise of seeds and of images ({comparison.draws} draws of a bootstrap); p is corrected for the "
        "number of arms (Holm)."
    )
    remarks = [f"{code(name)}: {prose(text)}" if name else prose(text) for name, text in tables.remarks(comparison)]
    if remarks:
        parts += ["## Notes", _bullets(remarks)]
    metrics = _metric_tables(every, comparison)
    if metrics:
        legend = "Mean ± standard deviation over seeds, in points of 100; ↓: less is better."
        parts += ["## All metrics", *metrics, legend]
    parts += _cost_part(every, comparison)
    parts += _mechanism_part(every)
    return "\n\n".join(parts) + "\n"


def _verdict_table(every: Sequence[Row]) -> str:
    from tabulate import tabulate

    body = []
    for row in every:
        cells = _verdict_cells(row, _indented(row))
        cells[-1] = f"**{cells[-1]}**" if row.kind == "better" else cells[-1]
        body.append(cells)
    return tabulate(body, VERDICT_HEADS, tablefmt="pipe", colalign=VERDICT_ALIGN, disable_numparse=True)


def _cost_part(every: Sequence[Row], comparison: Comparison) -> list[str]:
    from tabulate import tabulate

    listed = tables.costs(comparison)
    if not listed:
        return []
    body = [[_indented(row), *(numbers.cost_text(key, row.result.cost.get(key)) for key, _ in listed)] for row in every]
    heads = ["arm", *(prose(heading) for _, heading in listed)]
    align = ["left", *["right"] * len(listed)]
    return ["## Cost", tabulate(body, heads, tablefmt="pipe", colalign=align, disable_numparse=True)]


def _mechanism_part(every: Sequence[Row]) -> list[str]:
    from tabulate import tabulate

    body = []
    for row in every:
        for meter in row.result.mechanism:
            old, new = meter.get("baseline"), meter.get("arm")
            values = (numbers.number(old), numbers.number(new), numbers.change(old, new))
            body.append([code(row.name), code(meter.get("tag")), *map(prose, values)])
    if not body:
        return []
    heads, align = ("arm", "meter", "baseline", "arm's", "change"), ("left", "left", "right", "right", "right")
    return ["## Mechanism", tabulate(body, heads, tablefmt="pipe", colalign=align, disable_numparse=True)]


def _indented(row: Row) -> str:
    return ("↳ " if row.depth else "") + code(row.name)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def code(text: object) -> str:
    """A code span that also a table takes: a pipe would end its cell."""
    line = numbers.one_line(str(text))
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{space}{line}{space}{fence}".replace("|", r"\|")


def prose(text: object) -> str:
    """Text in which nothing is markup. An underscore within a word, or before a figure, means nothing anyway."""
    line = re.sub(r"([\\`*\[\]<>|&#])", r"\\\1", numbers.one_line(str(text)))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)


def report_csv(comparison: Comparison) -> str:
    """One row per arm and metric, then its costs and meters; an arm without finished seeds has a row that says so."""
    lines = []
    for row in tables.rows(comparison):
        result = row.result
        arm = {"arm": row.name, "control_of": row.control_of, "seeds": len(result.seeds)}
        arm["compared_with"] = "" if row.name == BASELINE else result.arm.compared_with
        metrics = dict.fromkeys((*(m for m in tables.KNOWN if m in result.means), *result.means, *result.differences))
        for metric in metrics:
            lines.append(arm | {"metric": metric} | _metric_fields(result, metric))
        lines += [arm | {"metric": f"cost/{key}", "mean": value} for key, value in result.cost.items()]
        for meter in result.mechanism:
            old, new = meter.get("baseline"), meter.get("arm")
            gap = new - old if numbers.known(old) and numbers.known(new) else None
            lines.append(arm | {"metric": f"meter/{meter.get('tag')}", "mean": new, "difference": gap})
        if not metrics:
            lines.append(arm | {"metric": tables.MAIN, "verdict": row.words})
    return _csv(REPORT_FIELDS, lines)


def _metric_fields(result: ArmResult, metric: str) -> dict[str, object]:
    fields: dict[str, object] = {"mean": result.means.get(metric), "sd": result.deviations.get(metric)}
    found = result.differences.get(metric)
    if found is not None:
        names = ("low", "high", "p_better", "p_holm", "seed_sd", "image_sd", "verdict", "seeds_needed")
        fields |= {name: getattr(found, name) for name in names} | {"difference": found.mean, "p": found.p_value}
    return fields


def runs_csv(comparison: Comparison) -> str:
    """One row per arm, seed and metric; a failed cell is a row with its reason."""
    lines = []
    for row in tables.rows(comparison):
        result = row.result
        for metric, values in result.values.items():
            for seed, value in zip(result.seeds, values, strict=True):
                lines.append({"arm": row.name, "seed": seed, "status": "finished", "metric": metric, "value": value})
        for seed, reason in result.failures:
            lines.append({"arm": row.name, "seed": seed, "status": "failed", "reason": reason})
    return _csv(RUN_FIELDS, lines)


def classes_csv(comparison: Comparison) -> str:
    """One row per arm and class."""
    lines = []
    for row in tables.rows(comparison):
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
