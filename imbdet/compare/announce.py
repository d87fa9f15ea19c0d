"""The plan as a person reads it before it runs: arms, seeds, runs, time, disk."""

import os
import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from .configs import arm_iterations, base_config, iterations_of
from .controls import is_pending
from .store import cells, run_folder
from .structures import BASELINE, Arm, Plan, RunRecord

GIB, MIB = 2**30, 2**20


def describe_plan(plan: Plan, records: Sequence[RunRecord], root: Path, cost: dict[str, Any], jobs: int) -> str:
    """All lines.

    Args:
        records: of the cells that are done. cost: what `probe.measure` found of the baseline. jobs: runs at once, 0 if
            a cluster decides.
    """
    done = {(record.arm, record.seed): record.status for record in records}
    failed = sum(status == "failed" for status in done.values())
    every = cells(plan)
    begun = [cell for cell in every if cell not in done and (root / run_folder(*cell) / "last.pth").exists()]
    left = [cell for cell in every if cell not in done]
    base = base_config(plan)
    versions = ", ".join(f"{name} {cost['versions'][name]}" for name in ("torch", "torchvision", "hotcoco"))
    lines = [
        f"comparison of {plan.config} in {root}, on split {plan.split}",
        f"  arms: {len(plan.arms)}",
        *(f"    {line}" for line in _arm_lines(plan)),
        f"  seeds: {', '.join(map(str, plan.seeds))}" + _claim(len(plan.seeds)),
        f"  budget: {_budget(plan, base, cost)}",
        f"  pinned: {cost['threads']} threads on {cost['device']}; {versions}" + _crowded(cost["threads"], jobs),
        "  data: " + ", ".join(f"{name} {value}" for name, value in cost["data"].items()),
        f"  runs: {len(every)}, of which {len(done)} are done"
        + (f" ({failed} failed: --retry-failed tries them again)" if failed else "")
        + (f" and {len(begun)} are half done" if begun else ""),
        f"  time: {_time(plan, base, left, cost, jobs)}",
        f"  disk: {_disk(plan, every, left, root, cost, jobs)}",
    ]
    return "\n".join(lines)


def _arm_lines(plan: Plan) -> list[str]:
    width = max(len(arm.name) for arm in plan.arms)
    return [f"{arm.name:<{width}}  {about(arm)}".rstrip() for arm in plan.arms]


def about(arm: Arm) -> str:
    """What there is to say of an arm besides its name."""
    if arm.name == BASELINE:
        return "no remedy; what the others are compared with"
    own = ", ".join(arm.overrides)
    if is_pending(arm):
        return f"control of {arm.control_of}: its loss weight is set once that and the baseline have finished a seed"
    if arm.control_of:
        return f"control of {arm.control_of}: {own}"
    compared = f"compared with {arm.compared_with}" if arm.compared_with != BASELINE else ""
    return "; ".join(part for part in (own, compared) if part)


def _crowded(threads: int, jobs: int) -> str:
    cores = os.cpu_count() or 1
    if jobs * threads <= cores or jobs < 2:
        return ""
    return f" ({jobs} runs of {threads} threads share {cores} cores: their step times will be longer)"


def _claim(seeds: int) -> str:
    if seeds == 1:
        return " (one seed: no claim can be made)"
    return "" if seeds >= 5 else f" ({seeds} seeds are indicative; 5 carry a claim)"


def _budget(plan: Plan, base: DictConfig, cost: dict[str, Any]) -> str:
    images = " and ".join(f"{number} {name}" for name, number in cost["images"].items())
    each = "each arm" if plan.budget == "iterations" else "the baseline, and the same training time for the others"
    return f"{iterations_of(base)} iterations of {cost['batch']} images for {each}; {images} images"


def run_seconds(steps: int, base: DictConfig, cost: dict[str, Any]) -> float:
    """What a run of so many steps takes at the baseline's pace: beginning, steps, evaluations on the way and at its
    end.
    """
    period = int(base.train.get("eval_period", 0) or 0)
    evaluations = 2 + ((steps - 1) // period if period else 0)
    return cost["begin_seconds"] + steps * cost["step_seconds"] + evaluations * cost["evaluation_seconds"]


def expected_seconds(plan: Plan, base: DictConfig, cost: dict[str, Any]) -> dict[str, float]:
    """{arm: seconds of a run}; under a time budget all take as long as the baseline."""
    count = iterations_of(base)
    steps = {arm.name: arm_iterations(arm, count) if plan.budget == "iterations" else count for arm in plan.arms}
    return {arm: run_seconds(number, base, cost) for arm, number in steps.items()}


def _time(plan: Plan, base: DictConfig, left: Sequence[tuple], cost: dict[str, Any], jobs: int) -> str:
    if not left:
        return "nothing is left to run"
    expected = expected_seconds(plan, base, cost)
    seconds = sum(expected[arm] for arm, _ in left) / max(1, min(jobs, len(left)))
    how = {0: "in sum", 1: "one after another"}.get(jobs, f"{jobs} at once")
    return (
        f"about {timedelta(seconds=round(seconds))} for {len(left)} runs {how}, by {cost['step_seconds']:.3g} s a step "
        f"and {cost['evaluation_seconds']:.3g} s an evaluation of the untrained baseline; remedies may take longer"
    )


def _disk(
    plan: Plan, every: Sequence[tuple], left: Sequence[tuple], root: Path, cost: dict[str, Any], jobs: int
) -> str:
    """last.pth and best.pth of each run, one last_prev.pth of each that is running, and the common start of a seed."""
    run, at_once = cost["state_bytes"] + cost["weights_bytes"], max(1, jobs) * cost["state_bytes"]
    total = len(every) * run + len(plan.seeds) * cost["weights_bytes"] + at_once
    needed = len(left) * run + at_once
    place = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    text = f"about {_size(total)} ({_size(run)} a run); {_size(free)} free"
    return text if needed < free else f"{text}: THIS DOES NOT FIT, {_size(needed)} are still to be written"


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"
