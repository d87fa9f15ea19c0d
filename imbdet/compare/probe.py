"""What is trained before the grid begins: a few steps that tell its cost, the tries of tuning, and what the controls
of the loss scale are matched by.

**Equal tuning.** Every arm, the baseline included, gets the same number of tries. They are a grid of their own in
`tuning/`: one seed that the comparison does not use, evaluated on the validation split. The best by the primary metric
becomes the arm's setting for all seeds. Controls that are the baseline take what the baseline got.
"""

import itertools
import math
import platform
import tempfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..engine.short import first_reports, measure
from ..evaluation.metrics import LOWER_IS_BETTER
from ..runs import read_json
from ..write import write_json
from .executors import Process
from .fairness import LOSSES, box_weight, scaled_losses
from .initial_weights import shared_start
from .plan import has_length, parse_tune, with_time_budget
from .results import append_result, has_plan, keep_base, read_plan, read_results, write_plan
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
)

PROBE, BALANCE = "probe.json", "balance.json"
STEPS = {"iterations": 6, "time": 20}  #: steps timed; a time budget rests on them
TUNING, SEED = "tuning", 1000
RATE = "optimizer.lr"
FACTORS = (0.4, 2.5)  #: of one dial, the other as it is
WIDE = (0.16, 0.4, 1.0, 2.5, 6.25)  #: of an arm without a second dial, so that it gets as many tries
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


def tries_of(arm: Arm, plan: Plan, configs: Configs) -> list[tuple[str, ...]]:
    """Return the overrides of each try: all combinations of `plan.tune`.

    By default five, on two dials: the arm as it is, two other rates, and two other weights of the loss that the arm
    changes; of the box loss, where it changes none, as in the baseline.
    """
    keys = parse_tune(plan.tune)
    if keys:
        return [
            tuple(f"{key}={value}" for (key, _), value in zip(keys, values, strict=True))
            for values in itertools.product(*(listed for _, listed in keys))
        ]
    cfg = configs.of(arm)
    weight = scaled_losses(configs.base, cfg) or box_weight(configs.base, cfg)
    factors = [(RATE, factor) for factor in ((1.0, *FACTORS) if weight else WIDE)]
    factors += [(weight, factor) for factor in FACTORS if weight]
    return [(f"{key}={_now(cfg, key) * factor:.4g}",) for key, factor in factors]


def _now(cfg: DictConfig, key: str) -> float:
    """Of a rate, or of the weight of a loss, which is 1 where the config does not have it."""
    value = OmegaConf.select(cfg, key)
    return 1.0 if value is None else float(value)


def tuning_plan(plan: Plan) -> Plan:
    """Return the grid of tries of the arms that have not been tuned yet; `control_of` of a try names its arm.

    Raises:
        ValueError: an arm does not have a key that is to be tuned.
    """
    configs, tries = Configs(plan), []
    for arm in plan.arms:
        if plan.tune and not arm.is_changed_baseline and not arm.tuned:
            for words in tries_of(arm, plan, configs):
                one = Arm(f"{arm.name} [{' '.join(words)}]", arm.remedies, (*arm.overrides, *words), arm.name)
                configs.of(one)  # a key that an arm does not have is refused before anything is trained
                tries.append(one)
    return replace(plan, arms=tuple(tries), seeds=(SEED,), split="val", tune=(), start="")


def tune(plan: Plan, root: Path, run: Callable[[Plan, Path], list[RunRecord]], say: Callable[[str], None]) -> Plan:
    """Return the plan with the setting of every arm that was tuned; `run` runs a grid, as the comparison's is run."""
    tries, place = tuning_plan(plan), root / TUNING
    if not tries.arms:
        return plan
    place.mkdir(parents=True, exist_ok=True)
    former = read_plan(place).arms if has_plan(place) else ()
    tries = replace(tries, arms=tuple({arm.name: arm for arm in (*former, *tries.arms)}.values()))
    keep_base(tries, place)
    write_plan(tries, place)
    records = {record.arm: record for record in run(tries, place)}
    chosen: dict[str, tuple[str, ...]] = {}
    for arm in plan.arms:
        scored = [(score(records.get(one.name), plan.primary), one) for one in tries.arms if one.control_of == arm.name]
        failed = [one for value, one in scored if value is None]
        if failed and len(failed) == len(scored):
            raise ValueError(f"all {len(failed)} tries of {arm.name} failed: {records[failed[0].name].reason}")
        scored = [(value, one) for value, one in scored if value is not None]
        if scored and not arm.tuned:
            best = max(scored, key=lambda pair: pair[0])[1]
            chosen[arm.name] = best.overrides[len(arm.overrides) :]
            say(f"{arm.name} is tuned: {' '.join(chosen[arm.name])}, the best of {len(scored)} tries")
    arms = []
    for arm in plan.arms:
        words = chosen.get(BASELINE if arm.is_changed_baseline else arm.name, ())
        # a control of the loss scale has no overrides before it is matched; then it gets those of the baseline
        new = words if not arm.is_changed_baseline or arm.overrides and not arm.tuned else ()
        arms.append(replace(arm, overrides=(*arm.overrides, *new), tuned=(*arm.tuned, *new)))
    return replace(plan, arms=tuple(arms))


def score(record: RunRecord | None, metric: str) -> float | None:
    """Score a try: the larger the better; by AP where the evaluation does not have the metric. None of a failed try."""
    if record is None or record.status != "finished":
        return None
    value = record.metrics.get(metric)
    if value is None:
        return record.metrics.get("AP")
    return -value if metric in LOWER_IS_BETTER else value


def tuning_notes(plan: Plan, root: Path) -> list[str]:
    """Return for each arm what was tried, what came out on the validation split, what was chosen, and what it cost."""
    if not has_plan(root / TUNING):
        return []
    tries, records = read_plan(root / TUNING), {record.arm: record for record in read_results(root / TUNING)}
    notes = []
    for arm in plan.arms:
        own = [(one, records.get(one.name)) for one in tries.arms if one.control_of == arm.name]
        if not own:
            continue
        parts, seconds = [], 0.0
        for one, record in own:
            value = score(record, plan.primary)
            words = [word for word in one.overrides if word.partition("=")[0] in plan.tuned_keys()]
            mark = " (chosen)" if arm.tuned and set(arm.tuned) <= set(one.overrides) else ""
            parts.append(f"{' '.join(words)} {'failed' if value is None else f'{100 * abs(value):.1f}'}{mark}")
            seconds += (record.cost.get("seconds") or 0.0) if record else 0.0
        notes.append(
            f"{arm.name} was tuned by {plan.primary} on val, seed {SEED}: {', '.join(parts)}; "
            f"{len(own)} runs, {seconds / 60:.1f} min of training"
        )
    return notes
