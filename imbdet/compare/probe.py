"""Short trainings before a grid of hundreds begins: what a step, an evaluation and a checkpoint cost, and what the
controls are matched by; and the plan in words, with the time and the disk that it takes.
"""

import math
import platform
import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..config import load_config
from ..cores import usable_cores
from ..engine.short import first_reports, measure
from ..evaluation.noise import detectable
from ..runs import LAST, read_json
from ..write import write_json
from .curves import length_by_curve
from .executors import Process
from .fairness import LOSSES, scaled_losses, shared_start
from .plan import has_length, with_time_budget
from .results import append_result, read_results
from .run import failed
from .structures import (
    BASELINE,
    Arm,
    Configs,
    Plan,
    RunRecord,
    arm_config,
    arm_iterations,
    base_config,
    cell_config,
    iterations_of,
    node_at,
    run_folder,
    seeds_draw,
)
from .tune import tuning_plan

PROBE, BALANCE = "probe.json", "balance.json"
STEPS = {"iterations": 6, "time": 20}  #: steps timed; a time budget rests on them
GIB, MIB = 2**30, 2**20
WINDOW = 50  #: iterations over which the balance is measured: that of a single batch is noisy


def costs(plan: Plan, root: Path) -> tuple[Plan, dict[str, Any]]:
    """What the baseline costs, by a probe or by the one that `root` holds; under a time budget, the plan with the
    iterations of each new arm.

    Raises:
        ValueError: an arm cannot even begin to train.
    """
    own = [arm for arm in plan.arms if arm.name != BASELINE and not arm.is_changed_baseline]
    new = [arm.name for arm in own if not has_length(arm)]
    fresh = bool(new) and plan.budget == "time"
    cost = None if fresh else _kept(root)
    if cost is None:
        cost = {"machine": platform.node(), **probe(plan, BASELINE)}
    if fresh:
        pace = {name: probe(plan, name)["step_seconds"] for name in new}
        plan = with_time_budget(plan, {BASELINE: cost["step_seconds"], **pace})
    return plan, cost


def _kept(root: Path) -> dict[str, Any] | None:
    """The probe of an earlier command on this machine."""
    try:
        cost = read_json(root / PROBE)
    except ValueError:
        return None
    return cost if cost.get("machine") == platform.node() else None


def probe(plan: Plan, arm: str) -> dict[str, Any]:
    """Measure an arm in a process of its own; see `engine.short.measure`.

    Raises:
        ValueError: the arm cannot even begin to train; with what was said.
    """
    return _elsewhere(measure_arm, (plan, arm), f"the first steps of {arm} failed")


def _elsewhere(function: Callable[..., Any], arguments: tuple, failed: str) -> Any:
    """What a function returns in a process of its own. Raises ValueError with what it raised."""
    with tempfile.TemporaryDirectory() as folder:
        process = Process(function, arguments, Path(folder) / "log.txt")
        try:
            return process.answer()
        except RuntimeError as error:
            raise ValueError(f"{failed}: {error}") from error
        finally:
            process.kill()


def measure_arm(plan: Plan, arm: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return measure(arm_config(plan, plan.arm(arm)), folder, STEPS[plan.budget])


def unmatched(plan: Plan) -> list[Arm]:
    """Return the loss-scale controls whose weights have not been measured yet."""
    return [arm for arm in plan.arms if arm.is_changed_baseline and not arm.overrides]


def matching_iterations(cfg: DictConfig) -> int:
    """Return how long the baseline and an arm are trained to measure what `match_losses` needs: a third of their
    iterations.

    A loss may change its balance in training (KL, GHM), so the first iterations say little of the rest.
    """
    return max(1, iterations_of(cfg) // 3)


def match_losses(base: DictConfig, cfg: DictConfig, before: float, after: float) -> tuple[tuple[str, ...], str]:
    """Return what a loss-scale control is matched by: the ratio of the gradient norms of box and classification loss.

    AdamW does not see the scale of a loss where only that loss arrives; where both meet, the balance of their gradients
    counts, not the value of either.

    Args:
        base, cfg: configs of the baseline and of the arm. before, after: `balance/box_over_cls` of both.

    Returns:
        The override that gives the baseline the balance of the arm, and a line about it.
    """
    key = scaled_losses(base, cfg)
    now = node_at(base, key)
    factor = after / before if key.endswith(f".{LOSSES[1]}_weight") else before / after
    weight = (1.0 if now is None else float(now)) * factor
    word = f"{key}={weight:.6g}"
    return (word,), f"{word} (box over classification, by their gradients: baseline {before:.3g}, arm {after:.3g})"


def mean_balance(reports: Sequence[dict]) -> float:
    """Return the geometric mean of `balance/box_over_cls` over reports; of the first stage where there are several.

    Raises:
        ValueError: it was not reported, or one of the losses has no gradient.
    """
    values = [next((value for tag, value in line.items() if tag.endswith("box_over_cls")), None) for line in reports]
    values = [value for value in values if value is not None and value > 0 and math.isfinite(value)]
    if not values:
        raise ValueError(f"balance/box_over_cls was not reported in {len(reports)} iterations; no control can match it")
    return math.exp(sum(map(math.log, values)) / len(values))


def match_controls(plan: Plan, root: Path, say: Callable[[str], None] = print, jobs: int = 1) -> Plan:
    """The plan with the weights of its loss-scale controls, which shorter trainings of the first seed give.

    Each arm is measured once: what was found is kept in the comparison's folder. A control that cannot be matched fails
    with the reason, in all its cells.
    """
    done = {(record.arm, record.seed) for record in read_results(root)}
    left = [arm for arm in unmatched(plan) if any((arm.name, seed) not in done for seed in plan.seeds)]
    if not left:
        return plan
    configs, arms = Configs(plan), {arm.name: arm for arm in plan.arms}
    found = _balances(plan, configs, [BASELINE, *dict.fromkeys(arm.control_of for arm in left)], root, say, jobs)
    for control in left:
        failure = next((found[name] for name in (BASELINE, control.control_of) if isinstance(found[name], str)), "")
        if failure:
            for seed in plan.seeds:
                if (control.name, seed) not in done:
                    append_result(root, failed(plan, (control.name, seed), f"refused: {failure}"))
            continue
        own, base = (configs.of(plan.arm(name)) for name in (control.control_of, BASELINE))
        overrides, line = match_losses(base, own, found[BASELINE], found[control.control_of])
        tuned = plan.arm(BASELINE).tuned
        arms[control.name] = replace(control, overrides=(*tuned, *overrides), tuned=tuned)
        say(f"{control.name}: {line}")
    return replace(plan, arms=tuple(arms.values()))


def _balances(
    plan: Plan, configs: Configs, names: Sequence[str], root: Path, say: Callable[[str], None], jobs: int
) -> dict[str, float | str]:
    """{arm: `balance/box_over_cls` after a third of its training, or why there is none}; kept, and measured at once."""
    keys = {name: _fingerprint(configs.of(plan.arm(name)), plan.seeds[0]) for name in names}
    kept = read_json(root / BALANCE) if (root / BALANCE).is_file() else {}
    found = {name: kept[name]["balance"] for name in names if kept.get(name, {}).get("config") == keys[name]}

    def balance(name: str) -> float | str:
        try:
            return mean_balance(_elsewhere(reports_of, (plan, name, root), f"the first steps of {name} failed"))
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        work = {}
        for name in names:
            if name not in found:
                say(f"measuring the balance of losses of {name}: {matching_iterations(configs.base)} iterations")
                work[pool.submit(balance, name)] = name
        for one in as_completed(work):
            found[work[one]] = one.result()
            if not isinstance(one.result(), str):
                kept[work[one]] = {"balance": one.result(), "config": keys[work[one]]}
                write_json(root / BALANCE, kept)
    return found


def _fingerprint(cfg: DictConfig, seed: int) -> str:
    return f"{zlib.crc32(OmegaConf.to_yaml(cfg).encode()):08x} seed {seed}"


def reports_of(plan: Plan, arm: str, root: Path) -> list[dict[str, Any]]:
    """What a cell of the first seed reports in the last WINDOW of its first `matching_iterations`."""
    seed, base = plan.seeds[0], base_config(plan)
    cfg = cell_config(plan, plan.arm(arm), seed, root)
    cfg.train.init_shared = shared_start(base, cfg, arm, seed, root)
    return first_reports(cfg, matching_iterations(cfg), WINDOW)


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
