"""A comparison as plain rows and words, which the page, Markdown, LaTeX and the terminal show alike.

Notable: what is said in words is decided here, once: the verdict of an arm and the sentence that answers the whole
comparison. Metrics are shown in points (0.5045 -> "50.45"); a value that is not defined is a dash, never a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...compare.structures import BASELINE, ArmResult, Comparison
from ...evaluation.metrics import COMPARED, LOWER_IS_BETTER, LRP, METRICS
from ...evaluation.significance import Difference
from ..numbers import COST, DASH, change, cost_text, interval, mean_sd, number, one_line, p_value, probability, signed

CLAIM = 5  #: seeds; with fewer a verdict is indicative

#: verdict -> the class that colors it
KINDS = {"better": "better", "worse": "worse", "no evidence": "none", "one seed: no claim": "one"}


@dataclass(frozen=True)
class Row:
    """One arm of the main table.

    Attributes:
        result: all that is known of it. metric: the primary one. depth: 1 for a control below the arm it controls.
        seeds: "5", or "3 of 5". verdict: in words; hint: what it takes, or "".
        kind: baseline, better, worse, none, one or failed.
        against: the arm it is compared with, "" if that is the baseline. failures: a line for each reason.
    """

    result: ArmResult
    metric: str
    depth: int
    seeds: str
    verdict: str
    hint: str
    kind: str
    against: str
    failures: tuple[str, ...]

    @property
    def words(self) -> str:
        """The verdict with its hint."""
        return self.verdict + (f" ({self.hint})" if self.hint else "")

    @property
    def name(self) -> str:
        return self.result.arm.name

    @property
    def control_of(self) -> str:
        return self.result.arm.control_of

    @property
    def difference(self) -> Difference | None:
        return self.result.differences.get(self.metric)

    @property
    def mean(self) -> float | None:
        return self.result.means.get(self.metric)

    @property
    def sd(self) -> float | None:
        return self.result.deviations.get(self.metric)


def rows(comparison: Comparison) -> list[Row]:
    """Return a row an arm: the baseline, then the others in their order, each with its controls below it."""
    return [_row(comparison, result, depth) for result, depth in _ordered(comparison.arms)]


def _ordered(arms: Sequence[ArmResult]) -> list[tuple[ArmResult, int]]:
    names = {result.arm.name for result in arms}
    found: dict[int, tuple[ArmResult, int]] = {}

    def add(result: ArmResult, depth: int) -> None:
        if id(result) not in found:
            found[id(result)] = (result, depth)
            for other in arms:
                if other.arm.control_of == result.arm.name:
                    add(other, depth + 1)

    for result in sorted(arms, key=lambda one: one.arm.name != BASELINE):
        if result.arm.name == BASELINE or result.arm.control_of not in names:
            add(result, 0)
    for result in arms:  # what is left are controls of each other
        add(result, 1)
    return list(found.values())


def _row(comparison: Comparison, result: ArmResult, depth: int) -> Row:
    done, asked = len(result.seeds), len(comparison.seeds)
    found = result.differences.get(comparison.primary)
    verdict, kind = _verdict(result, found)
    against = result.arm.compared_with if result.arm.compared_with != BASELINE else ""
    reasons: dict[str, list[str]] = {}
    for seed, reason in result.failures:
        reasons.setdefault(one_line(reason), []).append(str(seed))
    failures = tuple(f"seed{'s' * (len(s) > 1)} {', '.join(s)} failed: {reason}" for reason, s in reasons.items())
    seeds = str(done) if done == asked else f"{done} of {asked}"
    return Row(
        result,
        comparison.primary,
        depth,
        seeds,
        verdict,
        _hint(found),
        kind,
        "" if result.arm.name == BASELINE else against,
        failures,
    )


def _verdict(result: ArmResult, found: Difference | None) -> tuple[str, str]:
    """The verdict, and the kind that colors it."""
    if not result.seeds:
        return "failed", "failed"
    if result.arm.name == BASELINE:
        return "the baseline", "baseline"
    if found is None:
        return "not compared", "failed"
    return found.verdict, KINDS.get(found.verdict, "none")


def _hint(found: Difference | None) -> str:
    """What it would take, where there is no evidence."""
    if found is None or found.verdict != "no evidence":
        return ""
    if found.seeds_needed is None:
        return "more seeds alone would not tell"
    return f"about {found.seeds_needed} seeds would tell"


def answer(comparison: Comparison) -> str:
    """Return the comparison in one or two sentences."""
    every = rows(comparison)
    baseline = next((row for row in every if row.name == BASELINE), None)
    remedies = [row for row in every if row.name != BASELINE and not row.control_of]
    if not remedies:
        return "Only the baseline was run; there is nothing to compare."
    if baseline is None or not baseline.result.seeds:
        return "No run of the baseline has finished; nothing can be compared."
    by = {kind: [row for row in remedies if row.kind == kind] for kind in ("better", "worse", "none", "one", "failed")}
    judged = [row for kind in ("better", "worse", "none") for row in by[kind]]
    parts = []
    if len(remedies) == 1 and judged:
        parts.append(_of_one(judged[0]))
    elif judged:
        parts.append(_count(len(by["better"]), len(remedies), comparison.primary) + _named(by["better"]))
        if by["worse"]:
            parts.append(f"{len(by['worse'])} {'is' if len(by['worse']) == 1 else 'are'} worse" + _named(by["worse"]))
        if by["none"]:
            parts.append(f"for {len(by['none'])} there is no evidence either way" + _named(by["none"], False))
    if by["one"]:
        words = f"{len(by['one'])} {'has' if len(by['one']) == 1 else 'have'} one seed only: no claim" + _named(
            by["one"], False
        )
        parts.append(words if judged else "One seed: no claim. A difference between two single runs may be noise")
    for words, yes in (("failed", False), ("could not be compared", True)):
        found = [row for row in by["failed"] if bool(row.result.seeds) == yes]
        parts += [f"{len(found)} {words}" + _named(found, False)] if found else []
    return one_line("; ".join(parts) + "." + _indicative(judged))


def _of_one(row: Row) -> str:
    if row.kind == "none":
        return (
            f"There is no evidence that the remedy is better or worse than the baseline by {row.metric}{_named([row])}"
        )
    return f"The remedy is {row.kind} than the baseline by {row.metric}" + _named([row])


def _count(better: int, of: int, metric: str) -> str:
    number = "None" if better == 0 else str(better)
    shown = "" if better else "shown to be "
    return f"{number} of {of} remedies {'are' if better > 1 else 'is'} {shown}better than the baseline by {metric}"


def _named(found: Sequence[Row], numbers: bool = True) -> str:
    """The names as " (focal_loss +1.07, ohem +0.80)"; "" for none."""
    words = []
    for row in found:
        value = f" {signed(row.difference.mean)}" if numbers and row.difference else ""
        words.append(f"{row.name}{value}" + (f" against {row.against}" if row.against else ""))
    return f" ({', '.join(words)})" if words else ""


def _indicative(judged: Sequence[Row]) -> str:
    most = max((len(row.result.seeds) for row in judged), default=CLAIM)
    return f" With {most} seeds this is indicative; a claim takes {CLAIM} or more." if most < CLAIM else ""


def control_notes(comparison: Comparison) -> list[str]:
    """Return what a control takes from the claim of its arm: a control that is better itself explains part of the
    gain.
    """
    every = {row.name: row for row in rows(comparison)}
    found = []
    for row in every.values():
        arm = every.get(row.control_of)
        if arm is None or row.kind != "better" or arm.kind != "better" or arm.against:
            continue
        own, control = arm.difference.mean, row.difference.mean
        found.append(
            f"The control {row.name} is better than the baseline as well ({signed(control)}, {arm.name} "
            f"{signed(own)}): what {arm.name} does beyond its control is {signed(own - control)} points of "
            f"{row.metric} by the means."
        )
    return found


def all_notes(comparison: Comparison) -> list[tuple[str, str]]:
    """Return (arm, or "" for all of them; what a reader must know), in the order of the rows."""
    found = []
    for row in rows(comparison):
        found += [(row.name, line) for line in row.failures]
        found += [(row.name, f"a control of {row.control_of}")] if row.control_of else []
        found += [(row.name, f"compared with {row.against}")] if row.against else []
    return found + [("", one_line(text)) for text in (*control_notes(comparison), *comparison.notes)]


Groups = list[tuple[str, list[tuple[str, str]]]]  #: (what the columns have in common, [(metric, heading)])


def metric_groups(comparison: Comparison) -> list[Groups]:
    """Return the metrics that some arm reports, as tables of groups of columns: AP, errors, and what else there is."""
    reported = dict.fromkeys(metric for result in comparison.arms for metric in result.means)
    tables: list[dict[str, list[tuple[str, str]]]] = [{}, {}, {}]
    for metric in METRICS:
        if metric.name in reported and metric.name in COMPARED:
            title = "" if metric.section == LRP else metric.section
            tables[metric.lower_is_better].setdefault(title, []).append((metric.name, metric.heading or metric.name))
    others = [(name, name) for name in reported if name not in COMPARED]
    tables[2] = {"other metrics": others} if others else {}
    return [list(table.items()) for table in tables if table]


def side_by_side(comparison: Comparison, most: int = 7) -> list[Groups]:
    """Return the groups of metrics, as many side by side as a page of text takes: at most `most` metrics."""
    parts: list[Groups] = []
    for title, columns in (group for table in metric_groups(comparison) for group in table):
        for begin in range(0, len(columns), most):
            piece = (title, columns[begin : begin + most])
            used = sum(len(listed) for _, listed in parts[-1]) if parts else most
            if used + len(piece[1]) > most:
                parts.append([])
            parts[-1].append(piece)
    return parts


def costs(comparison: Comparison) -> list[tuple[str, str]]:
    """Return (key, heading) of the costs that some arm has; keys without a heading go by their name."""
    found = dict.fromkeys(key for result in comparison.arms for key in result.cost)
    named = [(key, heading) for key, heading in COST if key in found]
    return named + [(key, key.replace("_", " ")) for key in found if key not in dict(COST)]


@dataclass(frozen=True)
class Table:
    """A table of text. align: "left" or "right" for each column. lines: the row that a line is about, and its other
    cells. strong: (line, column) of cells in bold. named: how many columns hold names.
    """

    heads: list[str]
    align: list[str]
    lines: list[tuple[Row, list[str]]]
    strong: frozenset[tuple[int, int]] = frozenset()
    named: int = 1


def _table(heads: Sequence[str], lines: list[tuple[Row, list[str]]], strong: Sequence = (), named: int = 1) -> Table:
    """The first `named` columns are names, the others numbers."""
    align = ["left" if k < named else "right" for k in range(len(heads))]
    return Table(list(heads), align, lines, frozenset(strong), named)


def verdict_table(every: Sequence[Row]) -> Table:
    metric = every[0].metric if every else "AP"
    heads = ("arm", "seeds", metric, "difference", "95 % interval", "P(better)", "p", "verdict")
    lines = []
    for row in every:
        found, cells = row.difference, [DASH] * 4
        if found is not None:
            cells = [signed(found.mean), interval(found) or DASH, probability(found.p_better), p_value(found.p_family)]
        lines.append((row, [row.seeds, mean_sd(row.mean, row.sd), *cells, row.words]))
    strong = [(k, column) for k, row in enumerate(every) if row.kind == "better" for column in (3, 7)]
    table = _table(heads, lines, strong)
    return replace(table, align=[*table.align[:-1], "left"])


def metric_tables(every: Sequence[Row], comparison: Comparison) -> list[Table]:
    """Return the mean ± deviation of every metric, bold where that metric's own verdict is "better"."""
    tables = []
    for groups in side_by_side(comparison):
        metrics = [metric for _, columns in groups for metric, _ in columns]
        heads = ["arm", *(metric + (" ↓" if metric in LOWER_IS_BETTER else "") for metric in metrics)]
        results = [row.result for row in every]
        lines = [(r, [mean_sd(r.result.means.get(m), r.result.deviations.get(m), 1) for m in metrics]) for r in every]
        better = [[m in r.differences and r.differences[m].verdict == "better" for m in metrics] for r in results]
        strong = [(k, c) for k, columns in enumerate(better) for c, yes in enumerate(columns, start=1) if yes]
        tables.append(_table(heads, lines, strong))
    return tables


def cost_table(every: Sequence[Row], comparison: Comparison) -> Table | None:
    listed = costs(comparison)
    lines = [(row, [cost_text(key, row.result.cost.get(key)) for key, _ in listed]) for row in every]
    return _table(["arm", *(heading for _, heading in listed)], lines) if listed else None


def mechanism_table(every: Sequence[Row]) -> Table | None:
    lines = []
    for row in every:
        for meter in row.result.mechanism:
            old, new = meter.get("baseline"), meter.get("arm")
            lines.append((row, [str(meter.get("tag")), number(old), number(new), change(old, new)]))
    return _table(("arm", "meter", "baseline", "arm's", "change"), lines, named=2) if lines else None
