"""What is said in words: the plan before anything runs, with the time and the disk that it takes; and what a reader
must know besides the numbers: what they were made with, what is missing, what limits a verdict.
"""

import shlex
import shutil
import statistics
import sys
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from ..config import load_config
from ..cores import usable_cores
from ..evaluation.metrics import TIDE_ERRORS
from ..evaluation.noise import detectable, residual_sd
from ..evaluation.significance import Sample
from ..runs import LAST
from .curves import doubling_gain, gain_in_words, length_by_curve
from .kept import Finished, Runs, Scene, machines_of
from .probe import expected_seconds, matching_iterations, run_seconds, tuning_plan, unmatched
from .structures import (
    BASELINE,
    Arm,
    ArmResult,
    Plan,
    RunRecord,
    base_config,
    iterations_of,
    run_folder,
    seeds_draw,
)

GIB, MIB = 2**30, 2**20
ENOUGH_SEEDS = 5  #: for a claim; with fewer a verdict is indicative
UNEVEN = 1.2  #: slowest to fastest step of one arm's seeds from which its times say more of the machine than of the arm
UNEVEN_CLIPPING = 0.1  #: difference in the share of clipped steps that is worth a note
FEW_OBJECTS = 20  #: test objects of a class below which its own AP does not tell remedies apart


def notes_of(plan: Plan, results: Sequence[ArmResult], by_arm: Runs, truth: Scene | None) -> list[str]:
    """What a reader must know besides the numbers."""
    notes = _notes_of_arms(plan, results, by_arm)
    curve = next((result.curves.get("AP/AP", {}) for result in results if result.arm.name == BASELINE), {})
    gain = doubling_gain(curve)
    if gain is not None:
        notes.append(f"By the baseline's curve on val, {gain_in_words(gain)}")
    steps = {name: [c.record.cost.get("step_seconds") for c in cells.values()] for name, cells in by_arm.items()}
    spread = max((max(s) / min(s) for s in steps.values() if s and all(s)), default=1.0)
    if spread > UNEVEN:
        notes.append(
            f"Step times of one arm differ by a factor of up to {spread:.1f} between seeds: other work ran on the "
            "machine. python -m benchmarks --remedies measures the cost of a step side by side"
        )
    machines = machines_of(by_arm)
    if len(kinds := sorted({kind for kind in machines.values() if kind})) > 1:
        seeds = {kind: ", ".join(str(s) for s, one in machines.items() if one == kind) for kind in kinds}
        notes.append(
            "Seeds were computed by several kinds of machine, and runs are compared within a seed only: "
            + "; ".join(f"{kind}: {seeds[kind]}" for kind in kinds)
        )
    every = [run for runs in by_arm.values() for run in runs.values()]
    other = [run for run in every if run.record.machine not in ("", machines[run.record.seed])]
    if other:
        notes.append(
            "One seed gives results that differ by 1 to 4 AP between processors, so these runs are not compared with "
            "the rest of their seed: " + "; ".join(f"{run} ({run.record.machine})" for run in other)
        )
    without = [str(run) for run in every if run.measured is None]
    if without:
        shown = ", ".join(without[:4]) + (f" and {len(without) - 4} more" if len(without) > 4 else "")
        notes.append(
            f"No detections to resample for {shown}: intervals and p values that involve them hold the noise of seeds "
            "only, not of the choice of images, and are too narrow"
        )
    if any(name in result.differences for result in results for name in TIDE_ERRORS):
        notes.append(
            "Intervals of TIDE errors hold the noise of seeds only: these errors are not resampled over images"
        )

    counts = [len(r.seeds) for r in results if r.arm.name != BASELINE and r.seeds]
    if counts and min(counts) < ENOUGH_SEEDS:
        notes.append(f"With fewer than {ENOUGH_SEEDS} seeds a verdict is indicative")
    if truth is not None:
        boxes = truth.class_counts
        few = int(((boxes > 0) & (boxes < FEW_OBJECTS)).sum())
        if few:
            notes.append(
                f"{few} of {len(boxes)} classes have fewer than {FEW_OBJECTS} test objects: AP of such a class alone "
                "cannot tell remedies apart"
            )
    return notes


def _notes_of_arms(plan: Plan, results: Sequence[ArmResult], by_arm: Runs) -> list[str]:
    notes = []
    for result in results:
        arm = result.arm
        if len(result.seeds) < len(plan.seeds):
            notes.append(f"{arm.name} has {len(result.seeds)} of {len(plan.seeds)} seeds")
        shared = [s for s in result.seeds if s in by_arm.get(arm.compared_with, {})]
        if arm.name != BASELINE and result.seeds and len(shared) < len(result.seeds):
            notes.append(
                f"{arm.name} is compared with {arm.compared_with} on the {len(shared)} seeds that both have finished"
            )
    shares = {arm: [c.record.cost.get("clipped_share") or 0.0 for c in runs.values()] for arm, runs in by_arm.items()}
    clipped = {arm: statistics.fmean(of) if of else None for arm, of in shares.items()}
    for result in results:
        mine, theirs = clipped[result.arm.name], clipped.get(result.arm.compared_with)
        if mine is not None and theirs is not None and abs(mine - theirs) > UNEVEN_CLIPPING:
            notes.append(
                f"Gradients were clipped in {100 * mine:.0f} % of the steps of {result.arm.name} and in "
                f"{100 * theirs:.0f} % of {result.arm.compared_with}'s: clipping scales a step down, so the two differ "
                "in more than the remedy; train.clip_grad.max_norm=0 or a larger one takes that away"
            )
    if plan.budget == "iterations":
        longer = [name for result in results if (name := _trained_longer(result, by_arm))]
        if longer:
            notes.append(
                f"Trained longer than what they are compared with: {', '.join(longer)}. That alone may explain a gain: "
                "compare with a baseline trained for as long; `imbdet compare` adds one unless --no-controls is given"
            )
    return notes


def _trained_longer(result: ArmResult, by_arm: Runs) -> str:
    """The arm with both numbers of iterations if it has more than the arm it is compared with, else nothing."""
    own, other = (
        max((c.record.cost.get("iterations") or 0 for c in by_arm.get(name, {}).values()), default=0)
        for name in (result.arm.name, result.arm.compared_with)
    )
    is_remedy = result.arm.name != BASELINE and not result.arm.is_changed_baseline
    return f"{result.arm.name} ({own:g} iterations, {other:g})" if is_remedy and own > other > 0 else ""


def facts_of(plan: Plan, cells: Sequence[Finished], truth: Scene | None, draws: int) -> list[tuple[str, str]]:
    """What the numbers were made with; what no run says is left out."""
    evaluator = first(cell.record.pins.get("evaluator") or cell.fact("evaluation").get("evaluator") for cell in cells)
    environment = first(cell.fact("environment") for cell in cells) or {}
    packages = {"imbdet": environment.get("imbdet"), **environment.get("packages", {})}
    iterations = sorted({c.record.cost["iterations"] for c in cells if c.record.cost.get("iterations") is not None})
    images = len(truth) if truth is not None else first(cell.fact("evaluation").get("images") for cell in cells)
    resampled = any(cell.measured is not None for cell in cells)
    found = {
        "date": date.today().isoformat(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "overrides": " ".join(plan.overrides),
        "budget": f"equal {plan.budget}",
        "iterations": " to ".join(f"{n:g}" for n in dict.fromkeys([*iterations[:1], *iterations[-1:]])),
        "seeds draw": seeds_draw(plan),
        "images": f"{images} ({plan.split})" if images else "",
        "objects": str(int(truth.class_counts.sum())) if truth is not None else "",
        "bootstrap": f"{draws} draws of the images" if resampled else "none, as no run has detections",
        "evaluator": _describe(evaluator) if evaluator else "",
        "device": environment.get("gpu") or environment.get("device") or "",
        "processor": environment.get("processor") or "",
        "threads": str(environment.get("threads") or ""),
        "versions": ", ".join(f"{name} {version}" for name, version in packages.items() if version),
    }
    return [(name, value) for name, value in found.items() if value]


def _describe(evaluator: dict[str, Any]) -> str:
    limits = "/".join(map(str, evaluator.get("max_dets", ())))
    return f"{evaluator.get('name')} {evaluator.get('version')}" + (f", maxDets {limits}" if limits else "")


def power_of(sample: Sample, seeds: int) -> list[tuple[str, str]]:
    """What a grid of this size finds, by the noise that it has measured."""
    remedies = [arm for arm in sample.against if arm not in sample.controls]
    sd = residual_sd(sample.matrix())
    if sd is None or seeds < 2 or not remedies:
        return []
    images = np.diag(sample.image_covariance(remedies))
    image_sd = float(np.sqrt(np.nanmedian(images))) if np.isfinite(images).any() else 0.0
    found = detectable(seeds, len(remedies), sd, image_sd)
    text = f"a difference of {100 * found:.1f} points with 80 % power; sd of a run {100 * sd:.2f}"
    return [("can find", text + (f", of the choice of images {100 * image_sd:.2f}" if image_sd else ""))]


def first(values: Iterable[Any]) -> Any:
    """The first that is not empty, or None."""
    return next((value for value in values if value), None)


def describe_plan(plan: Plan, records: Sequence[RunRecord], root: Path, cost: dict[str, Any], jobs: int) -> str:
    """All lines.

    Args:
        records: of the cells that are done. cost: what `measure` found of the baseline. jobs: runs at once, 0 if
            a cluster decides.
    """
    done = {(record.arm, record.seed): record.status for record in records}
    failed = sum(status == "failed" for status in done.values())
    every = plan.cells()
    begun = [cell for cell in every if cell not in done and (root / run_folder(*cell) / LAST).exists()]
    left = [cell for cell in every if cell not in done]
    base = base_config(plan)
    versions = ", ".join(f"{name} {cost['versions'][name]}" for name in ("torch", "torchvision", "hotcoco"))
    lines = [
        f"comparison of {plan.config} in {root}, on split {plan.split}",
        f"  arms: {len(plan.arms)}",
        *(f"    {line}" for line in _arm_lines(plan)),
        f"  seeds: {', '.join(map(str, plan.seeds))}" + _claim(len(plan.seeds)),
        f"  primary metric: {plan.primary}; all others are exploratory",
        f"  can find: {_power(plan)}",
        *([f"  length: {length}"] if (length := length_by_curve(plan, root)) else []),
        *([f"  start: {plan.start}, {', '.join(plan.start_keeps)}" + _start_cost(plan)] if plan.start else []),
        *([f"  seeds draw: {seeds_draw(plan)}, so that its luck is in the noise of seeds"] if seeds_draw(plan) else []),
        *_tuning(plan, base, cost, jobs),
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
    if arm.is_changed_baseline:
        return f"control of {arm.control_of}: {own or 'its loss weight is measured before the grid begins'}"
    control = f"control of {arm.control_of}" if arm.control_of else ""
    compared = f"compared with {arm.compared_with}" if arm.compared_with != BASELINE else ""
    return "; ".join(part for part in (control, own, compared) if part)


def _power(plan: Plan) -> str:
    """The smallest difference that this grid finds with a power of 80 %, before it costs anything."""
    remedies = sum(arm.name != BASELINE and not arm.control_of for arm in plan.arms)
    if len(plan.seeds) < 2 or not remedies:
        return "nothing: a variance takes two seeds"
    found = detectable(len(plan.seeds), remedies, plan.sd)
    source = f"measured in {plan.pilot}" if plan.pilot else "a guess; --pilot RESULTS takes it from an earlier grid"
    return (
        f"a difference of {100 * found:.1f} points of {plan.primary} with 80 % power, beside the noise of the images; "
        f"sd of a run {100 * plan.sd:.2f} ({source})"
    )


def _tuning(plan: Plan, base: DictConfig, cost: dict[str, Any], jobs: int) -> list[str]:
    """What is tried before the grid begins, and how long it takes; nothing without `--tune`."""
    tries = tuning_plan(plan)
    if not tries.arms:
        return []
    arms = len({one.control_of for one in tries.arms})
    seconds = len(tries.arms) * run_seconds(iterations_of(base), base, cost) / max(1, min(jobs, len(tries.arms)))
    return [
        f"  tuning: {len(tries.arms) // arms} tries of each of {arms} arms on val, seed {tries.seeds[0]}: about "
        f"{timedelta(seconds=round(seconds))} before the grid begins",
        *(f"    {one.name}" for one in tries.arms),
    ]


def _start_cost(plan: Plan) -> str:
    if plan.start.endswith(".pth"):
        return "; the same for all seeds"
    count = iterations_of(load_config(plan.start))
    return f"; trained once for each seed, {count} iterations, before the grid begins"


def _crowded(threads: int, jobs: int) -> str:
    cores = usable_cores()
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


def _time(plan: Plan, base: DictConfig, left: Sequence[tuple], cost: dict[str, Any], jobs: int) -> str:
    if not left:
        return "nothing is left to run"
    expected = expected_seconds(plan, base, cost)
    seconds = sum(expected[arm] for arm, _ in left) / max(1, min(jobs, len(left)))
    how = {0: "in sum", 1: "one after another"}.get(jobs, f"{jobs} at once")
    matched = {arm.control_of for arm in unmatched(plan)}
    measured = (len(matched) + 1) / max(1, min(jobs, len(matched) + 1)) if matched else 0
    before = measured * (cost["begin_seconds"] + cost["step_seconds"] * matching_iterations(base))
    return (
        f"about {timedelta(seconds=round(seconds))} for {len(left)} runs {how}, by {cost['step_seconds']:.3g} s a step "
        f"and {cost['evaluation_seconds']:.3g} s an evaluation of the untrained baseline; remedies may take longer"
        + (
            f". Before that about {timedelta(seconds=round(before))} to match the "
            f"controls of {len(matched)} arms ({matching_iterations(base)} iterations each)"
            if matched
            else ""
        )
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
    return text if needed < free else f"{text}: THIS DOES NOT FIT: {_size(needed)} are still to be written"


def _size(count: float) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.1f} MiB"
