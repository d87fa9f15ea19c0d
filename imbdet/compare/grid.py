"""From what was asked for to a plan: arms, seeds, controls; refused by name before anything runs.

What is notable here: a comparison's folder keeps its base config. A later command on the same folder may add arms and
seeds; one with another base, budget or split is refused, as its runs would not be comparable with those that are there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..config import configs_dir, find_config, load_config, remedy_names, save_config
from ..config.remedy import find_remedy
from .budget import MADE, check_equal, config_changes, config_pins, made_by_remedy
from .configs import Configs, base_config, cell_config, changes_of, iterations_of
from .controls import extra_iterations, with_controls
from .store import BASE, folder_name, read_plan, read_results
from .structures import BASELINE, PLAN, Arm, Plan, RunRecord

THREADS = "train.num_threads"
GIVEN = {"train.seed": "--seeds", "train.output_dir": "--out", "train.init_shared": "nothing: it is set for each run"}


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        config, overrides: the base. remedies: one text an arm, "A" or "A+B". every, imbalance: all remedies that fit,
        of one imbalance or of all. threads: of a run, where the config leaves it to torch. controls: whether to add
        control arms.
    """

    config: str
    remedies: tuple[str, ...] = ()
    every: bool = False
    imbalance: str = ""
    seeds: tuple[int, ...] = (0,)
    overrides: tuple[str, ...] = ()
    budget: str = "iterations"
    split: str = "val"
    threads: int = 1
    controls: bool = True


def parse_seeds(text: str) -> tuple[int, ...]:
    """ "5" -> 0..4; "0,3,7" -> those; "7," -> the one seed 7. Raises ValueError for anything else."""
    try:
        numbers = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        numbers = []
    if "," not in text and len(numbers) == 1 and numbers[0] >= 1:
        return tuple(range(numbers[0]))
    if not numbers or min(numbers) < 0 or "," not in text:
        raise ValueError(f"--seeds is {text!r}; give how many (5), or which (0,3,7; a single one as 7,)")
    return tuple(dict.fromkeys(numbers))


def make_plan(request: Request, root: Path) -> tuple[Plan, list[str]]:
    """The plan of a request, added to the one that `root` holds, and lines that say what was left out or kept.

    Raises:
        ValueError, FileNotFoundError: the config, a remedy or an override cannot be used, or the folder holds another
            comparison; by name.
    """
    former = read_plan(root) if (root / PLAN).is_file() else None
    if former is None and (root / "config.yaml").is_file():
        raise ValueError(f"{root} is the folder of a single run; choose another --out")
    configs = _without_arms(request, former)
    plan = configs.plan
    _refuse_another_base(configs, former, root)
    arms, notes = _arms(request, configs)
    arms = _merged(former.arms if former else (), arms)
    seeds = tuple(dict.fromkeys([*(former.seeds if former else ()), *request.seeds]))
    plan = replace(plan, arms=tuple(arms), seeds=seeds)
    _refuse_same_folders(plan)
    notes += check_budget(plan, configs)
    if former is not None:
        _refuse_changed_arms(plan, read_results(root), root)
    return plan, notes


def keep_base(plan: Plan, root: Path) -> None:
    """Write base.yaml, by which later commands on this folder are judged."""
    if not (root / BASE).is_file():
        save_config(base_config(plan), root / BASE)


def _without_arms(request: Request, former: Plan | None) -> Configs:
    """A plan with the baseline only; threads are pinned, as the sums of a CPU depend on their number."""
    for word in request.overrides:
        key = word.partition("=")[0].strip()
        if key in GIVEN:
            raise ValueError(f"override {word!r}: every run has its own; use {GIVEN[key]}")
    plan = Plan(
        config=_lasting(request.config),
        arms=(Arm(BASELINE),),
        seeds=request.seeds,
        overrides=request.overrides,
        budget=request.budget,
        split=request.split,
    )
    configs = Configs(plan)
    if not configs.base.train.get("num_threads", 0):
        pinned = [word for word in (former.overrides if former else ()) if word.startswith(f"{THREADS}=")]
        plan = replace(plan, overrides=(*plan.overrides, *(pinned[-1:] or [f"{THREADS}={request.threads}"])))
        configs = Configs(plan)
    base = configs.base
    if base.train.get("early_stopping", {}).get("patience", 0):
        raise ValueError(
            f"train.early_stopping.patience is {base.train.early_stopping.patience}: arms would train for different "
            "lengths; set train.early_stopping.patience=0"
        )
    if base.dataloader.get(request.split) is None or base.data.get(request.split) is None:
        raise ValueError(f"config {request.config!r} has no split {request.split!r} to evaluate on")
    return configs


def _lasting(config: str) -> str:
    """A name that means the same config wherever the next command is given: a shipped one's, else an absolute path."""
    path, shipped = find_config(config), configs_dir().resolve()
    return path.relative_to(shipped).with_suffix("").as_posix() if path.is_relative_to(shipped) else str(path)


def _refuse_another_base(configs: Configs, former: Plan | None, root: Path) -> None:
    if former is None or not (root / BASE).is_file():
        return
    plan, changes = configs.plan, config_changes(load_config(root / BASE), configs.base)
    for name in ("budget", "split"):
        if getattr(former, name) != getattr(plan, name):
            changes.append(f"--{name}: {getattr(former, name)} -> {getattr(plan, name)}")
    if changes:
        raise ValueError(
            f"{root} holds a comparison with another base; these differ:\n  "
            + "\n  ".join(changes)
            + "\nGo on with the base it began with, or choose another --out"
        )


def _arms(request: Request, configs: Configs) -> tuple[list[Arm], list[str]]:
    """The arms asked for, with their controls; what `--all` leaves out is said."""
    arms, notes = [Arm(BASELINE)], []
    for text in dict.fromkeys(request.remedies):
        arms += with_controls(configs, _arm(text), request.controls)
    for name in _every(request):
        arm = _arm(name)
        if arm.name in [known.name for known in arms]:
            continue
        try:
            arms += with_controls(configs, arm, request.controls)
        except ValueError as error:
            notes.append(f"left out: {arm.name}, which does not fit: {error}")
    for arm in arms:
        if arm.remedies and not changes_of(configs.base, configs.of(arm)):
            raise ValueError(
                f"arm {arm.name!r} does not differ from the baseline: key=value words come after remedies and undo it"
            )
    if len(arms) == 1:
        raise ValueError("there is nothing to compare with the baseline: give --remedy NAME, or --all")
    if configs.base.get("remedies"):
        notes.append(f"the base config holds {', '.join(configs.base.remedies)} already, in every arm")
    return arms, notes


def _arm(text: str) -> Arm:
    """ "A", "A+B" or the path of a remedy file -> its arm. Raises ValueError for an unknown remedy."""
    words = [text] if Path(text).is_file() else [word.strip() for word in text.split("+")]
    if not all(words):
        raise ValueError(f"--remedy {text!r}: a name is missing; write A+B for one arm with two remedies")
    found = [find_remedy(word) for word in words]
    return Arm("+".join(remedy.path.stem for remedy in found), tuple(remedy.name for remedy in found))


def _every(request: Request) -> list[str]:
    if not request.every:
        return []
    names = [name for name in remedy_names() if not request.imbalance or name.startswith(f"{request.imbalance}/")]
    if not names:
        there = sorted({name.split("/")[0] for name in remedy_names()})
        raise ValueError(f"no remedy of imbalance {request.imbalance!r}; there are some of {', '.join(there)}")
    return names


def _merged(former: Sequence[Arm], arms: Sequence[Arm]) -> list[Arm]:
    """The arms of before, as they were run, then the new ones. An iteration control serves all arms of its length."""
    merged: dict[str, Arm] = {arm.name: arm for arm in former}
    for arm in arms:
        known = merged.setdefault(arm.name, arm)
        if known.remedies != arm.remedies:
            raise ValueError(f"two arms are called {arm.name!r}: {known.remedies} and {arm.remedies}; rename a file")
        if arm.compared_with != BASELINE:  # its control is new
            merged[arm.name] = replace(known, compared_with=arm.compared_with)
    return list(merged.values())


def _refuse_same_folders(plan: Plan) -> None:
    folders: dict[str, str] = {}
    for arm in plan.arms:
        other = folders.setdefault(folder_name(arm.name), arm.name)
        if other != arm.name:
            raise ValueError(f"the arms {other!r} and {arm.name!r} would share the folder {folder_name(arm.name)}")


def check_budget(plan: Plan, configs: Configs) -> list[str]:
    """What is known of equal budget before anything runs, by the configs of the arms.

    Raises:
        ValueError: a remedy changes something that is no remedy's to change (the batch, the optimizer, the length).
    """
    base, records = configs.base, []
    for arm in plan.arms:
        cfg = configs.of(arm)
        pins = {**config_pins(cfg, plan.split), "budget": plan.budget}
        pins[MADE] = made_by_remedy(base, cfg, plan.split, extra_iterations(arm, base))
        records.append(RunRecord(arm.name, plan.seeds[0], "", "finished", pins=pins))
    try:
        return check_equal(records, plan.arms)
    except ValueError as error:
        raise ValueError(
            f"{error}\nA remedy may change its slots and how images are drawn. What all arms should have, give as "
            "key=value; a phase that needs more iterations is declared as extra_iterations in the remedy's config"
        ) from error


def _refuse_changed_arms(plan: Plan, records: Sequence[RunRecord], root: Path) -> None:
    """An arm whose remedy file has changed since it ran would not be one arm."""
    seen = set()
    for record in records:
        arm = next((arm for arm in plan.arms if arm.name == record.arm), None)
        path = root / record.folder / "config.yaml"
        if arm is None or arm.name in seen or record.status != "finished" or not path.is_file():
            continue
        seen.add(arm.name)
        changes = config_changes(load_config(path), cell_config(plan, arm, record.seed, root))
        if changes:
            raise ValueError(
                f"the arm {arm.name!r} has changed since seed {record.seed} of it ran:\n  "
                + "\n  ".join(changes)
                + "\nChoose another --out, or undo the change"
            )


def with_time_budget(plan: Plan, pace: dict[str, float]) -> Plan:
    """Every arm gets so many iterations that it trains as long as the baseline, by the probed seconds a step.

    pace: {arm: seconds a step} of the baseline and of the arms that have no iterations of their own yet.
    """
    base = base_config(plan)
    arms = []
    for arm in plan.arms:
        own = any(word.startswith("train.max_iter=") for word in arm.overrides)
        if arm.name != BASELINE and arm.name in pace and not own:
            count = max(1, round(iterations_of(base) * pace[BASELINE] / pace[arm.name]))
            arm = replace(arm, overrides=(*arm.overrides, f"train.max_iter={count}"))
        arms.append(arm)
    return replace(plan, arms=tuple(arms))
