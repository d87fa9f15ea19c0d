"""What makes a comparison fair: equal budgets and control arms; for the weights see `initial_weights.py`.

**Equal budget.** A run's pins are read from what it left behind (its config, its environment, its evaluation), not from
what was asked for. They are a flat dict, config keys by their own names. A key that a remedy changed where a remedy may
act (its slot, the training loader) is listed as part of it; every other difference is refused.

**Controls.** Two things make a remedy look better than it is. Its loss pulls harder or less than the one it replaces,
so that the detector is trained with another balance of its losses: the control is the baseline with that balance,
measured by gradients (`probe.match_losses`). And it trains longer, for a phase of its own: the control is the baseline
with as many iterations. A control that takes the remedy's idea away, or has something else that comes along with it, is
a config of its own that says `control = True`; an arm with it is a control of the arm without it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ..config.difference import describe, flatten, is_harmless, judged
from ..config.files import refuse_code, run_file
from ..config.remedy import find_remedy, find_trusted
from ..engine.checkpoint import load_file
from ..engine.run_folder import plain
from ..runs import LAST, RunFolder
from ..slots import is_inside, slot_at
from .structures import BASELINE, ITERATIONS, Arm, Configs, RunRecord, changes_of, iterations_of, node_at

#: config keys that cost or earn accuracy without any remedy: the whole section, or the one key
BUDGET = (
    "optimizer",
    "lr_multiplier",
    "dataloader.train",
    ITERATIONS,
    "train.accumulate",
    "train.reference_batch",
    "train.amp",
    "train.ema",
    "train.clip_grad",
    "train.init_checkpoint",
    "train.init_classes",
    "train.early_stopping",
    "model.preprocess",
    "model.score_threshold",
    "model.max_detections",
)
#: differences of machines, which change times and last digits: named, not refused
SOFT = ("cpu", "code")
#: what a control arm is made to differ in: the iterations that a remedy's pre-training costs
CONTROLLED = (ITERATIONS, "iterations done")
MADE = "part of the remedy"  #: the pin that lists the keys which the arm's remedies changed
DRAWN = "data follows the seed"  #: the pin of runs whose seed draws data, too: True, or the one split
BATCH = "dataloader.train.batch_size"


def config_pins(cfg: DictConfig, split: str) -> dict[str, Any]:
    """Return the pins that a config holds: every key of the budget, and how the split is read."""
    sections = (*BUDGET, "dataloader.val", f"dataloader.{split}")
    flat = flatten(plain(cfg))
    pins = {key: value for key, value in flat.items() if is_inside(key, sections) and not is_harmless(key, "compare")}
    pins[ITERATIONS] = iterations_of(cfg)
    pins["split"] = split
    return pins


def run_pins(cfg: DictConfig, split: str, folder: Path, evaluator: dict, data: dict[str, str]) -> dict[str, Any]:
    """Return all pins of a finished run.

    Args:
        cfg: its config. folder: its run folder, with environment.json. evaluator: of its Result. data: {split:
            fingerprint of its records}.
    """
    environment = RunFolder(folder).environment()
    sessions = [environment, *environment.get("resumed", [])]
    pins = config_pins(cfg, split)
    pins.update({f"data.{name}": value for name, value in data.items()})
    pins["evaluator"] = evaluator
    pins["iterations done"] = load_file(folder / LAST)["iteration"]
    pins["threads"] = _over(sessions, lambda one: one["threads"])
    pins["processes"] = _over(sessions, lambda one: one["processes"])
    pins["python"] = _over(sessions, lambda one: one["python"].rpartition(".")[0])
    for name in dict.fromkeys(name for one in sessions for name in one["packages"]):
        pins[f"version of {name}"] = _over(sessions, lambda one, name=name: one["packages"].get(name))
    pins["gpu"] = _over(sessions, lambda one: one["gpu"])
    pins["processor"] = _over(sessions, lambda one: one.get("processor"))
    pins["cpu"] = _over(sessions, lambda one: one["cpu_capability"])
    pins["code"] = _over(sessions, lambda one: f"imbdet {one['imbdet']} {one['git_commit'] or ''}".strip())
    return pins


def _over(sessions: list[dict], read: Any) -> Any:
    """The one value of all sessions of a run; "a, then b" where a resumed run met another."""
    values = list(dict.fromkeys(read(one) for one in sessions))
    return values[0] if len(values) == 1 else ", then ".join(map(str, values))


def made_by_remedy(
    base: DictConfig, cfg: DictConfig, split: str, extra: int = 0, tuned: Sequence[str] = ()
) -> list[str]:
    """Return the pins in which an arm's config differs from the base because of what its remedies may change.

    A remedy may change its slots and how the training loader feeds them, but not the batch; the iterations only if it
    declares them. extra: how many more it declares. tuned: keys that may differ in any arm, as all were tuned.
    """
    before, after = config_pins(base, split), config_pins(cfg, split)
    changed = [key for key in _keys([before, after]) if before.get(key) != after.get(key)]
    made = [key for key in changed if slot_at(key) or (is_inside(key, ("dataloader.train",)) and key != BATCH)]
    # parameters that a remedy brings along may have an optimizer setting that the base does not know
    made += [key for key in changed if is_inside(key, ("optimizer.params.overrides",)) and key not in before]
    if extra and after[ITERATIONS] == before[ITERATIONS] + extra:
        made += [ITERATIONS, "iterations done"]
    return [*made, *tuned]


def check_equal(records: Sequence[RunRecord], arms: Sequence[Arm] = ()) -> list[str]:
    """Refuse runs that are not comparable.

    Args:
        records: of finished runs; failed ones are passed over. arms: of the plan; each is held against the arm that it
            is compared with, an arm that is not among them against the baseline (or the first run).

    Returns:
        Notes: what is part of a remedy, and where machines differ.

    Raises:
        ValueError: runs differ in data, evaluator or budget; every difference, with both values.
    """
    finished = [record for record in records if record.status == "finished"]
    references = {arm.name: arm.compared_with for arm in arms}
    controls = {arm.name for arm in arms if arm.is_changed_baseline}
    problems: dict[str, None] = {}
    notes: dict[str, None] = {}
    parts: dict[str, list[str]] = {}
    for record in finished:
        own = _first(finished, record.arm)
        wanted = references.get(record.arm, BASELINE)
        other = own if own is not record else _first(finished, wanted) or finished[0]
        for key in _differing(record, other):
            line = f"{key}: {shown(other.pins.get(key))} in {_who(other)}, {shown(record.pins.get(key))}"
            if key in SOFT:
                notes[f"{line} in {_who(record)}"] = None
            elif own is record and (key in record.pins.get(MADE, ()) or record.arm in controls and key in CONTROLLED):
                change = f"{key} {_last_name(other.pins.get(key))} -> {_last_name(record.pins.get(key))}"
                parts.setdefault(record.arm, []).append(change.replace("._target_ ", " "))
            else:
                problems[f"{line} in {_who(record)}"] = None
        notes.update(dict.fromkeys(_uneven_time(record, other)))
    if problems:
        raise ValueError(
            "these runs are not comparable: they differ in data, evaluator or budget:\n  " + "\n  ".join(problems)
        )
    return [*notes, *(f"part of {arm}: {', '.join(changes)}" for arm, changes in parts.items())]


def _last_name(value: Any) -> str:
    """A value in one short line, a class without its package."""
    text = shown(value)
    return text.rpartition(".")[2] if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", text) else text


def _first(records: Iterable[RunRecord], arm: str) -> RunRecord | None:
    return next((record for record in records if record.arm == arm), None)


def _differing(a: RunRecord, b: RunRecord) -> list[str]:
    """Pins with different values, but those that a time budget lets differ."""
    skipped = {MADE, "processor", "gpu"}  # judging pairs runs of one kind of machine only
    if a.seed != b.seed and a.pins.get(DRAWN) and b.pins.get(DRAWN):
        skipped |= {"data.train"} if a.pins[DRAWN] == "data.train" else {"data.train", "data.val", "data.test"}
    if a.pins.get("budget") == b.pins.get("budget") == "time":
        skipped |= set(CONTROLLED)
    return [key for key in _keys([a.pins, b.pins]) if key not in skipped and a.pins.get(key) != b.pins.get(key)]


def _uneven_time(a: RunRecord, b: RunRecord) -> list[str]:
    """Under a time budget, where the probe was wrong about the pace by more than a seventh."""
    mine, theirs = a.cost.get("seconds"), b.cost.get("seconds")
    if a.pins.get("budget") != "time" or not mine or not theirs or 0.85 <= mine / theirs <= 1.15:
        return []
    return [f"training took {mine:.0f} s in {_who(a)} and {theirs:.0f} s in {_who(b)}: the time budget was missed"]


def _keys(dicts: Iterable[dict]) -> list[str]:
    return list(dict.fromkeys(key for one in dicts for key in one))


def _who(record: RunRecord) -> str:
    return f"{record.arm} seed {record.seed}"


def shown(value: Any) -> str:
    """Return a value in one short line: `Compose(transforms=[RandomFlip(...)])` for a node."""
    text = "nothing" if value is None else describe(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def config_changes(before: DictConfig, now: DictConfig) -> list[str]:
    """Return lines "key: before -> now" of what differs in two configs and may not: one grid has one base config."""
    return judged(before, now, "revisit")[0]


LOSSES = ("classification", "regression")  #: the slots of a criterion that make its losses, in the order of `names`
BOTH = ("normalizer", "weighting")  #: what makes both losses larger or smaller
#: the criteria whose balance `balance/box_over_cls` reports
BALANCED = ("model.criterion", "model.roi_heads.criterion")


def with_controls(configs: Configs, arm: Arm, wanted: bool = True) -> list[Arm]:
    """Map an arm with its remedies only -> the same arm with what it needs, and its controls; a control has no control
    of its loss scale.

    Args:
        wanted: False leaves the controls out.

    Raises:
        ValueError: the arm does not fit the base config.
    """
    base, cfg, arms = configs.base, configs.of(arm), [arm]
    extra = extra_iterations(arm, base) if configs.plan.budget == "iterations" else 0
    if extra:
        name, longer = f"baseline ({extra} more iterations)", (f"{ITERATIONS}={iterations_of(base) + extra}",)
        arms[0] = replace(arm, overrides=longer, compared_with=name if wanted else BASELINE)
        arms.append(Arm(name, overrides=longer, control_of=arm.name))
    if scaled_losses(base, cfg) and not controls_in(arm):
        arms.append(Arm(f"baseline (loss scale of {arm.name})", control_of=arm.name))
    return arms if wanted else arms[:1]


def controls_in(arm: Arm) -> list[str]:
    """Return those of the arm's remedies whose config says `control = True`."""
    found = ((name, find_trusted(name)) for name in arm.remedies)
    return [name for name, remedy in found if remedy is not None and remedy.control]


def with_declared_controls(arms: Sequence[Arm]) -> list[Arm]:
    """Return the arms, those that hold a declared control as controls of the arm without it, else of the baseline."""
    marked = []
    for arm in arms:
        if controls := controls_in(arm):
            rest = tuple(name for name in arm.remedies if name not in controls)
            of = next((one.name for one in arms if one.remedies == rest and not one.is_changed_baseline), BASELINE)
            arm = replace(arm, control_of=of)
        marked.append(arm)
    return marked


def extra_iterations(arm: Arm, base: DictConfig) -> int:
    """Return how many more iterations than the base config the arm's remedies declare, together.

    A remedy's config file says `extra_iterations = 200`, or `def extra_iterations(cfg)` of the base config. A function
    that two of them share, as the adversaries share their phases, counts once.

    Raises:
        ValueError: it says anything else, or is code that is not trusted.
    """
    total, shared = 0, set()
    refuse_code(*arm.remedies)
    for name in arm.remedies:
        path = find_remedy(name).path
        declared = run_file(path).get("extra_iterations", 0)
        if callable(declared):
            place = (declared.__code__.co_filename, declared.__name__)
            if place in shared:
                continue
            shared.add(place)
        count = declared(base) if callable(declared) else declared
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{path}: extra_iterations is {count!r}; it must be a whole number of 0 or more")
        total += count
    return total


def scaled_losses(base: DictConfig, cfg: DictConfig) -> str:
    """Return the key of the weight that gives the baseline the balance of an arm; "" if the arm cannot have changed it.

    It is the weight of the loss whose slot the arm filled or whose weight it set; of the box loss, where the arm did so
    to both, or weighs regions, or divides by another number of them. A criterion that the arm replaced as a whole has
    no counterpart in the base, and the balance of the RPN's losses is not measured.
    """
    changed = changes_of(base, cfg)
    for criterion in BALANCED:
        before, after = node_at(base, criterion), node_at(cfg, criterion)
        if not isinstance(before, dict) or not isinstance(after, dict):
            continue
        scaled = []
        for loss in LOSSES:
            keys = [f"{criterion}.{key}" for key in (loss, f"{loss}_weight", *BOTH)]
            scaled += [loss] if any(is_inside(path, keys) for path in changed) else []
        if scaled:
            return f"{criterion}.{scaled[-1]}_weight"
    return ""


def box_weight(base: DictConfig, cfg: DictConfig) -> str:
    """Return the key of the box loss's weight in an arm's criterion, "" if it has not the base's kind of criterion."""
    for criterion in BALANCED:
        before, after = node_at(base, criterion), node_at(cfg, criterion)
        if isinstance(before, dict) and isinstance(after, dict) and before.get("_target_") == after.get("_target_"):
            return f"{criterion}.{LOSSES[1]}_weight"
    return ""
