"""What one arm's runs say by themselves: values over the seeds, cost, classes, curves, mechanism.

Letters: n seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from .cells import TIDE, Cell, first
from .meters import curves, mechanism
from .structures import BASELINE, Arm, ArmResult, Plan, RunRecord

METRICS = ("AP", "AP50", "AP75", "AP90", "APs", "APm", "APl", "APr", "APc", "APf", "oLRP", *(f"d{n}" for n in TIDE))


def arm_result(arm: Arm, by_arm: dict[str, dict[int, Cell]], records: Sequence[RunRecord], plan: Plan) -> ArmResult:
    """All of an arm but its differences."""
    cells, baseline = by_arm[arm.name], by_arm.get(BASELINE, {})
    values = {metric: [cell.value(metric) for cell in cells.values()] for metric in METRICS}
    defined = {metric: [value for value in row if value is not None] for metric, row in values.items()}
    failed = [(r.seed, r.reason) for r in records if r.arm == arm.name and r.status != "finished"]
    other = by_arm.get(arm.compared_with, {})
    # A control is there to be held against the meters of the remedy that it controls.
    remedies = next((one.remedies for one in plan.arms if one.name == arm.control_of), arm.remedies)
    return ArmResult(
        arm=arm,
        seeds=list(cells),
        failures=sorted(failed),
        values=values,
        means={metric: statistics.fmean(row) if row else None for metric, row in defined.items()},
        deviations={metric: statistics.stdev(row) if len(row) > 1 else None for metric, row in defined.items()},
        cost=_cost(cells, baseline),
        mechanism=[] if arm.name == BASELINE else mechanism(list(cells.values()), list(other.values()), remedies),
        per_class=_per_class(cells, other if arm.name != BASELINE else {}),
        curves=curves(list(cells.values())),
    )


def _cost(cells: dict[int, Cell], baseline: dict[int, Cell]) -> dict[str, float | None]:
    def of(some: Iterable[Cell], key: str) -> list[float]:
        return [cell.record.cost[key] for cell in some if cell.record.cost.get(key) is not None]

    def middle(some: Iterable[Cell], key: str) -> float | None:
        found = of(some, key)
        return statistics.median(found) if found else None

    step, base = middle(cells.values(), "step_seconds"), middle(baseline.values(), "step_seconds")
    frequent = [(baseline[s].value("APf"), cells[s].value("APf")) for s in cells if s in baseline]
    lost = [before - after for before, after in frequent if before is not None and after is not None]
    return {
        "step_seconds": step,
        "step_ratio": step / base if step and base else None,
        "peak_memory_mib": max(of(cells.values(), "peak_memory_mib"), default=None),
        "parameters": first(of(cells.values(), "parameters")),
        "seconds": middle(cells.values(), "seconds"),
        "frequent_loss": statistics.fmean(lost) if lost else None,
    }


def _per_class(cells: dict[int, Cell], other: dict[int, Cell]) -> list[dict[str, Any]]:
    """A row per class in the order of the labels, with the mean paired difference in AP."""
    ap = {s: {row["name"]: row["AP"] for row in cell.record.per_class} for s, cell in cells.items()}
    theirs = {s: {row["name"]: row["AP"] for row in cell.record.per_class} for s, cell in other.items()}
    rows = []
    for row in first(cell.record.per_class for cell in cells.values()) or []:
        name = row["name"]
        values = [one[name] for one in ap.values() if one.get(name) is not None]
        pairs = [(ap[s].get(name), theirs[s].get(name)) for s in ap if s in theirs]
        differences = [a - b for a, b in pairs if a is not None and b is not None]
        rows.append(
            {
                "name": name,
                "train_boxes": row.get("train_boxes"),
                "boxes": row.get("boxes"),
                "group": row.get("group"),
                "AP": statistics.fmean(values) if values else None,
                "sd": statistics.stdev(values) if len(values) > 1 else None,
                "difference": statistics.fmean(differences) if differences else None,
            }
        )
    return rows
