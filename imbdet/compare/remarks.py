"""What a reader of a comparison must know besides its numbers: what is missing, and what they were made with."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from ..evaluation.ground_truth import GroundTruth
from .cells import TIDE, Cell, first
from .structures import BASELINE, ArmResult, Plan

ENOUGH_SEEDS = 5  #: for a claim; with fewer a verdict is indicative
UNEVEN = 1.2  #: slowest to fastest step of one arm's seeds from which its times say more of the machine than of the arm
FEW_OBJECTS = 20  #: test objects of a class below which its own AP does not tell remedies apart


def say_what_is_missing(
    notes: list[str],
    plan: Plan,
    results: Sequence[ArmResult],
    by_arm: Mapping[str, Mapping[int, Cell]],
    truth: GroundTruth | None,
) -> None:
    """Add what a reader must know to `notes`."""
    for result in results:
        arm = result.arm
        if len(result.seeds) < len(plan.seeds):
            notes.append(f"{arm.name} has {len(result.seeds)} of {len(plan.seeds)} seeds")
        shared = [s for s in result.seeds if s in by_arm.get(arm.compared_with, {})]
        if arm.name != BASELINE and result.seeds and len(shared) < len(result.seeds):
            notes.append(
                f"{arm.name} is compared with {arm.compared_with} on the {len(shared)} seeds that both have finished"
            )
    if plan.budget == "iterations":
        longer = [name for result in results if (name := _trained_longer(result, by_arm))]
        if longer:
            notes.append(
                f"Trained longer than what they are compared with: {', '.join(longer)}. Their gain may be that alone; "
                "a baseline of as many iterations would tell, which imbdet compare adds but for --no-controls"
            )
    steps = {name: [c.record.cost.get("step_seconds") for c in cells.values()] for name, cells in by_arm.items()}
    spread = max((max(s) / min(s) for s in steps.values() if s and all(s)), default=1.0)
    if spread > UNEVEN:
        notes.append(
            f"Times differ up to {spread:.1f} times between seeds of one arm: the machine did not always work for "
            "these runs alone. imbdet benchmark --remedies measures the cost of a step side by side"
        )
    without = [cell.name for cells in by_arm.values() for cell in cells.values() if cell.measured is None]
    if without:
        shown = ", ".join(without[:4]) + (f" and {len(without) - 4} more" if len(without) > 4 else "")
        notes.append(
            f"No detections to resample of {shown}: where they take part, intervals and p values are of the seeds "
            "alone, without the noise of the choice of images, and so too narrow"
        )
    if any(f"d{name}" in result.differences for result in results for name in TIDE):
        notes.append("Intervals of the TIDE errors are of the seeds alone: their types are not resampled over images")
    counts = [len(r.seeds) for r in results if r.arm.name != BASELINE and r.seeds]
    if counts and min(counts) < ENOUGH_SEEDS:
        notes.append(f"With fewer than {ENOUGH_SEEDS} seeds a verdict is indicative")
    if truth is not None:
        boxes = truth.class_counts()
        few = int(((boxes > 0) & (boxes < FEW_OBJECTS)).sum())
        if few:
            notes.append(
                f"{few} of {len(boxes)} classes have fewer than {FEW_OBJECTS} test objects: AP of such a class alone "
                "cannot tell remedies apart"
            )


def _trained_longer(result: ArmResult, by_arm: Mapping[str, Mapping[int, Cell]]) -> str:
    """The arm with both numbers of iterations if it has more than the arm it is compared with, else nothing."""
    own, other = (
        max((c.record.cost.get("iterations") or 0 for c in by_arm.get(name, {}).values()), default=0)
        for name in (result.arm.name, result.arm.compared_with)
    )
    is_remedy = result.arm.name != BASELINE and not result.arm.control_of
    return f"{result.arm.name} ({own:g} iterations, {other:g})" if is_remedy and own > other > 0 else ""


def facts(plan: Plan, cells: Sequence[Cell], truth: GroundTruth | None, draws: int) -> list[tuple[str, str]]:
    """What the numbers were made with; what no run says is left out."""
    evaluator = first(cell.record.pins.get("evaluator") or cell.evaluation.get("evaluator") for cell in cells)
    environment = first(cell.environment for cell in cells) or {}
    packages = {"imbdet": environment.get("imbdet"), **environment.get("packages", {})}
    iterations = sorted({c.record.cost["iterations"] for c in cells if c.record.cost.get("iterations") is not None})
    images = len(truth) if truth is not None else first(cell.evaluation.get("images") for cell in cells)
    resampled = any(cell.measured is not None for cell in cells)
    found = {
        "date": date.today().isoformat(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "overrides": " ".join(plan.overrides),
        "budget": f"equal {plan.budget}",
        "iterations": " to ".join(f"{n:g}" for n in dict.fromkeys([*iterations[:1], *iterations[-1:]])),
        "images": f"{images} ({plan.split})" if images else "",
        "objects": str(int(truth.class_counts().sum())) if truth is not None else "",
        "bootstrap": f"{draws} draws of the images" if resampled else "none, as no run has detections",
        "evaluator": _describe(evaluator) if evaluator else "",
        "device": environment.get("gpu") or environment.get("device") or "",
        "threads": str(environment.get("threads") or ""),
        "versions": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
    }
    return [(name, value) for name, value in found.items() if value]


def _describe(evaluator: dict[str, Any]) -> str:
    limits = "/".join(map(str, evaluator.get("max_dets", ())))
    return f"{evaluator.get('name')} {evaluator.get('version')}" + (f", maxDets {limits}" if limits else "")
