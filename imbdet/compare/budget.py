"""Equal budget, checked: what must be the same in runs that stand side by side, and what is named when it is not.

What is notable here: a run's pins are read from what it left behind (its config, its environment, its evaluation), not
from what was asked for. They are a flat dict, config keys by their own names, so that a difference can be looked up.
A key that a remedy changed where a remedy may act (its slot, the training loader) is listed as part of it; everything
else that differs is refused.
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ..config.difference import flatten, is_harmless, judged
from ..config.slots import slot_at
from ..engine.run_folder import plain
from .configs import ITERATIONS, iterations_of
from .structures import BASELINE, Arm, RunRecord

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
    "train.early_stopping",
    "model.preprocess",
    "model.score_threshold",
    "model.max_detections",
)
#: differences of machines, which change times and last digits: named, not refused
SOFT = ("gpu", "cpu", "code")
MADE = "part of the remedy"  #: the pin that lists the keys which the arm's remedies changed
BATCH = "dataloader.train.batch_size"


def config_pins(cfg: DictConfig, split: str) -> dict[str, Any]:
    """The pins that a config holds: every key of the budget, and how the split is read."""
    sections = (*BUDGET, "dataloader.val", f"dataloader.{split}")
    flat = flatten(plain(cfg))
    pins = {key: value for key, value in flat.items() if _inside(key, sections) and not is_harmless(key, "compare")}
    pins[ITERATIONS] = iterations_of(cfg)
    pins["split"] = split
    return pins


def run_pins(cfg: DictConfig, split: str, folder: Path, evaluator: dict, data: dict[str, str]) -> dict[str, Any]:
    """All pins of a finished run.

    Args:
        cfg: its config. folder: its run folder, with environment.json. evaluator: of its Result. data: {split:
            fingerprint of its records}.
    """
    from ..engine.checkpoint import LAST, load_file

    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
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
    pins["cpu"] = _over(sessions, lambda one: one["cpu_capability"])
    pins["code"] = _over(sessions, lambda one: f"imbdet {one['imbdet']} {one['git_commit'] or ''}".strip())
    return pins


def _over(sessions: list[dict], read: Any) -> Any:
    """The one value of all sessions of a run; "a, then b" where a resumed run met another."""
    values = list(dict.fromkeys(read(one) for one in sessions))
    return values[0] if len(values) == 1 else ", then ".join(map(str, values))


def made_by_remedy(base: DictConfig, cfg: DictConfig, split: str, extra: int = 0) -> list[str]:
    """The pins in which an arm's config differs from the base because of what its remedies may change.

    A remedy may change its slots and how the training loader feeds them, but not the batch; the iterations only if it
    declares them. extra: how many more it declares.
    """
    before, after = config_pins(base, split), config_pins(cfg, split)
    changed = [key for key in _keys([before, after]) if before.get(key) != after.get(key)]
    made = [key for key in changed if slot_at(key) or (_inside(key, ("dataloader.train",)) and key != BATCH)]
    if extra and after[ITERATIONS] == before[ITERATIONS] + extra:
        made += [ITERATIONS, "iterations done"]
    return made


def check_equal(records: Sequence[RunRecord], arms: Sequence[Arm] = ()) -> list[str]:
    """Whether these runs may stand side by side.

    Args:
        records: of finished runs; failed ones are passed over. arms: of the plan; each is held against the arm that it
            is compared with, an arm that is not among them against the baseline (or the first run).

    Returns:
        Lines to be read with the comparison: what is part of a remedy, and where machines differ.

    Raises:
        ValueError: runs differ in data, evaluator or budget; every difference, with both values.
    """
    finished = [record for record in records if record.status == "finished"]
    references = {arm.name: arm.compared_with for arm in arms}
    controls = {arm.name for arm in arms if arm.control_of}
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
            "these runs cannot stand side by side, they differ in data, evaluator or budget:\n  "
            + "\n  ".join(problems)
        )
    return [*notes, *(f"part of {arm}: {', '.join(changes)}" for arm, changes in parts.items())]


def _last_name(value: Any) -> str:
    """A value in one short line, a class without its package."""
    text = shown(value)
    return text.rpartition(".")[2] if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", text) else text


#: what a control arm is made to differ in: the iterations that a remedy's pre-training costs
CONTROLLED = (ITERATIONS, "iterations done")


def _first(records: Iterable[RunRecord], arm: str) -> RunRecord | None:
    return next((record for record in records if record.arm == arm), None)


def _differing(a: RunRecord, b: RunRecord) -> list[str]:
    """Pins with different values, but those that a time budget lets differ."""
    skipped = {MADE}
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
    """A value in one short line: `Compose(transforms=[RandomFlip(...)])` for a node."""
    from ..config.difference import describe

    text = "nothing" if value is None else describe(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def config_changes(before: DictConfig, now: DictConfig) -> list[str]:
    """Lines "key: before -> now" of what differs in two configs and may not: one grid has one base config."""
    return judged(before, now, "revisit")[0]


def _inside(key: str, sections: Iterable[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)
