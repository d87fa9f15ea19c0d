"""Equal tuning: every arm, the baseline included, gets the same number of tries before the grid begins.

The tries are a grid of their own in `tuning/`: one seed that the comparison does not use, evaluated on the validation
split. The best by the primary metric becomes the arm's setting for all seeds. Controls take what the baseline got.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ..evaluation.metrics import LOWER_IS_BETTER
from .fairness import box_weight, scaled_losses
from .results import has_plan, keep_base, read_plan, read_results, write_plan
from .structures import BASELINE, Arm, Configs, Plan, RunRecord

TUNING, SEED = "tuning", 1000
AUTO, RATE = "auto", "optimizer.lr"
FACTORS = (0.4, 2.5)  #: of one dial, the other as it is
WIDE = (0.16, 0.4, 1.0, 2.5, 6.25)  #: of an arm without a second dial, so that it gets as many tries


def parse_tune(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Map ["KEY=V1,V2"] -> [(KEY, [V1, V2])]; [] for ["auto"]. Raises ValueError for anything else."""
    if list(words) == [AUTO]:
        return []
    found = []
    for word in words:
        key, _, values = word.partition("=")
        listed = [value.strip() for value in values.split(",") if value.strip()]
        if not key.strip() or len(listed) < 2:
            raise ValueError(f"--tune {word!r}: write KEY=V1,V2,V3 with two values or more, or auto, alone")
        found.append((key.strip(), listed))
    return found


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
    return Plan(
        plan.config,
        tuple(tries),
        (SEED,),
        plan.overrides,
        plan.budget,
        "val",
        plan.primary,
        draw_data=plan.draw_data,
        resample_train=plan.resample_train,
    )


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


def tuned_keys(plan: Plan) -> list[str]:
    """Return the config keys in which arms may differ because they were tuned."""
    return list(dict.fromkeys(word.partition("=")[0] for arm in plan.arms for word in arm.tuned))


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
            words = [word for word in one.overrides if word.partition("=")[0] in tuned_keys(plan)]
            mark = " (chosen)" if arm.tuned and set(arm.tuned) <= set(one.overrides) else ""
            parts.append(f"{' '.join(words)} {'failed' if value is None else f'{100 * abs(value):.1f}'}{mark}")
            seconds += (record.cost.get("seconds") or 0.0) if record else 0.0
        notes.append(
            f"{arm.name} was tuned by {plan.primary} on val, seed {SEED}: {', '.join(parts)}; "
            f"{len(own)} runs, {seconds / 60:.1f} min of training"
        )
    return notes
