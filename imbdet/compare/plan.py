"""A plan of what was asked for, refused by name before anything runs.

A comparison's folder keeps its base config. A later command on the same folder may add arms and seeds; one with another
base, budget or split is refused, as its runs would not be comparable with those that are there.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import open_dict

from ..config import configs_dir, find_config, load_config, remedy_names, trust
from ..config.docstrings import HOMES
from ..config.remedy import find_remedy
from ..evaluation.metrics import COMPARED
from ..remedies.index import home_baseline
from ..runs import CONFIG, RunFolder
from .curves import imbalances
from .fairness import (
    MADE,
    check_equal,
    config_changes,
    config_pins,
    extra_iterations,
    made_by_remedy,
    with_controls,
    with_declared_controls,
)
from .kept import kept_config
from .results import BASE, has_plan, pilot_sd, read_plan, read_results
from .structures import (
    BASELINE,
    ITERATIONS,
    Arm,
    Configs,
    Plan,
    Request,
    RunRecord,
    base_config,
    cell_config,
    changes_of,
    folder_name,
    iterations_of,
    node_at,
)

THREADS = "train.num_threads"
#: imbalance (folder of the remedy) -> the metric that its remedies claim to raise; AP for all others
PRIMARY = {"class_fg_fg": "APr", "spatial_regression": "AP90", "spatial_iou": "AP90", "scale": "APs"}
GIVEN = {"train.seed": "--seeds", "train.output_dir": "--out", "train.init_shared": "no override"}


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


def parse_tune(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Map ["KEY=V1,V2"] -> [(KEY, [V1, V2])]; [] for ["auto"]. Raises ValueError for anything else."""
    if list(words) == ["auto"]:
        return []
    found = []
    for word in words:
        key, _, values = word.partition("=")
        listed = [value.strip() for value in values.split(",") if value.strip()]
        if not key.strip() or len(listed) < 2:
            raise ValueError(f"--tune {word!r}: write KEY=V1,V2,V3 with two values or more, or auto, alone")
        found.append((key.strip(), listed))
    return found


def make_plan(request: Request, root: Path) -> tuple[Plan, list[str]]:
    """The plan of a request, added to the one that `root` holds, and lines that say what was left out or kept.

    Raises:
        ValueError, FileNotFoundError: the config, a remedy or an override cannot be used, or the folder holds another
            comparison; by name.
    """
    former = read_plan(root) if has_plan(root) else None
    if former is None and RunFolder(root).has(CONFIG):
        raise ValueError(f"{root} is the folder of a single run; choose another --out")
    configs = _without_arms(request, former)
    plan = configs.plan
    _refuse_another_base(configs, former, root)
    arms, notes = _arms(request, configs)
    arms = with_declared_controls(_merged(former.arms if former else (), arms))
    seeds = tuple(dict.fromkeys([*(former.seeds if former else ()), *request.seeds]))
    plan = replace(plan, arms=tuple(arms), seeds=seeds, primary=named_primary(request, former, arms))
    if former is not None and request.tune and request.tune != former.tune:
        raise ValueError(
            f"--tune is {' '.join(request.tune)}, but this comparison was begun with {' '.join(former.tune) or 'none'}"
            "; choose another --out"
        )
    parse_tune(request.tune)
    plan = replace(plan, tune=former.tune if former else request.tune)
    plan = _beginning(plan, request, former, configs)
    if request.pilot:
        plan = replace(plan, sd=pilot_sd(Path(request.pilot), plan.primary), pilot=request.pilot)
    elif former is not None:
        plan = replace(plan, sd=former.sd, pilot=former.pilot)
    _refuse_same_folders(plan)
    notes += check_budget(plan, configs)
    if former is not None:
        _refuse_changed_arms(plan, read_results(root), root)
    return plan, notes


def primary_metric(arms: Sequence[Arm]) -> str:
    """What the remedies claim to change, by their imbalance; AP if they claim several things."""
    claimed = {PRIMARY.get(name, "AP") for arm in arms for name in imbalances(arm.remedies)}
    return claimed.pop() if len(claimed) == 1 else "AP"


def named_primary(request: Request, former: Plan | None, arms: Sequence[Arm]) -> str:
    """Named before anything runs, and kept. Raises ValueError for another one, or for one that there is not."""
    known = former.primary if former else request.primary or primary_metric(arms)
    if request.primary and request.primary != known:
        raise ValueError(
            f"--primary is {request.primary}, but this comparison was begun with {known}, and a primary metric that "
            "is chosen afterwards is none; choose another --out"
        )
    if known not in COMPARED:
        raise ValueError(f"--primary is {known!r}; it must be one of {', '.join(COMPARED)}")
    return known


def _beginning(plan: Plan, request: Request, former: Plan | None, configs: Configs) -> Plan:
    """What all arms begin from, and whether seeds draw data; both are the grid's from its first command on."""
    given = {"start": request.start and _lasting(request.start), "start_keeps": request.start_keeps}
    given |= {name: getattr(request, name) for name in ("draw_data", "resample_train")}
    for name in ("start", "draw_data", "resample_train"):
        if former is not None and given[name] and given[name] != getattr(former, name):
            word, begun = f"--{name.replace('_', '-')}", getattr(former, name)
            word += f" is {given[name]}" if isinstance(begun, str) else " is given"
            begun = f"with {begun}" if begun else "without"
            raise ValueError(f"{word}, but this comparison was begun {begun}; choose another --out")
    if request.resample_train:
        if request.draw_data:
            raise ValueError(
                "--resample-train draws from the images that there are, --draw-data makes new ones: give one"
            )
        read = node_at(configs.base, "dataloader.train.records")
        if read != "${data.train}":
            raise ValueError(f"--resample-train: dataloader.train.records is {read!r}; it must be ${{data.train}}")
    if request.draw_data:
        drawn = configs.base.copy()
        with open_dict(drawn):
            drawn.data.seed = 987654
        fixed = [name for name in ("train", plan.split) if drawn.data[name].get("seed") != 987654]
        if fixed:
            raise ValueError(f"--draw-data: data.{fixed[0]} is not drawn from data.seed; it is for generated data")
    return replace(plan, **({name: getattr(former, name) for name in given} if former is not None else given))


def _without_arms(request: Request, former: Plan | None) -> Configs:
    """A plan with the baseline only; threads are pinned, as the sums of a CPU depend on their number."""
    for word in request.overrides:
        key = word.partition("=")[0].strip()
        if key in GIVEN:
            raise ValueError(f"override {word!r}: each run sets this key itself; use {GIVEN[key]}")
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
        there = [name for name in ("val", "test") if base.dataloader.get(name) and base.data.get(name)]
        raise ValueError(f"--split {request.split}: config {request.config!r} has {' and '.join(there) or 'none'}")
    return configs


def _lasting(config: str) -> str:
    """A name that means the same config wherever the next command is given: a shipped one's, else an absolute path."""
    if config.endswith(".pth"):
        if not Path(config).is_file():
            raise FileNotFoundError(f"no checkpoint at {config}")
        return str(Path(config).resolve())
    path, shipped = find_config(config), configs_dir().resolve()
    _trust_named([str(path)])
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
            + "\nUse the base config it began with, or choose another --out"
        )


def _arms(request: Request, configs: Configs) -> tuple[list[Arm], list[str]]:
    """The arms asked for, with their controls; what `--all` leaves out is said."""
    arms, notes = [Arm(BASELINE)], []
    for text in dict.fromkeys(request.remedies):
        arms += _with_controls(request, configs, _arm(text))
    for name in _every(request):
        arm = _arm(name)
        if arm.name in [known.name for known in arms]:
            continue
        try:
            arms += _with_controls(request, configs, arm)
        except ValueError as error:
            notes.append(f"left out: {arm.name}: {error}")
    if len(arms) == 1 and not request.tune:
        raise ValueError("there is nothing to compare with the baseline: give --remedy NAME, --all, or --tune")
    if configs.base.get("remedies"):
        notes.append(f"the base config holds {', '.join(configs.base.remedies)} already, in every arm")
    return arms, notes


def _with_controls(request: Request, configs: Configs, arm: Arm) -> list[Arm]:
    """Raises ValueError if the arm does not fit the base, or is no other than the base."""
    arms = with_controls(configs, arm, request.controls)
    if not changes_of(configs.base, configs.of(arm)):
        raise ValueError(
            f"arm {arm.name!r} does not differ from the baseline; key=value words come after remedies and may undo them"
        )
    return arms


def _arm(text: str) -> Arm:
    """ "A", "A+B" or the path of a remedy file -> its arm. Raises ValueError for an unknown remedy."""
    words = [text] if Path(text).is_file() else [word.strip() for word in text.split("+")]
    if not all(words):
        raise ValueError(f"--remedy {text!r}: a name is missing; write A+B for one arm with two remedies")
    found = [find_remedy(word) for word in words]
    _trust_named([remedy.name for remedy in found])
    return Arm("+".join(remedy.path.stem for remedy in found), tuple(remedy.name for remedy in found))


def _trust_named(names: Sequence[str]) -> None:
    """What the command itself names may run, here and in the processes of the cells; shipped configs may anyway."""
    own = [name for name in names if name.endswith(".py") and not Path(name).is_relative_to(configs_dir().resolve())]
    if own:
        trust(*own)


def home_grids(config: str) -> list[str]:
    """The shipped baselines on the data of `config`, which is the first; `--all` puts each remedy on its home detector.

    [config] alone for a config of one's own, on which every remedy that fits is tried.
    """
    known = [f"baselines/{home}_{_data_of(config)}" for home in HOMES[:2]]
    return [config, *(name for name in known if name != config)] if config in known else [config]


def _data_of(config: str) -> str:
    """ "baselines/faster_rcnn_shapes" -> "shapes"."""
    stem = config.rpartition("/")[2]
    return next((stem.removeprefix(f"{home}_") for home in HOMES[:2] if stem.startswith(f"{home}_")), "")


def remedies_of(config: str, imbalance: str = "") -> list[str]:
    """The remedies that `--all` tries on this config: on a shipped baseline those that are at home there."""
    names = [name for name in remedy_names() if not imbalance or name.startswith(f"{imbalance}/")]
    if len(home_grids(config)) > 1:
        names = [name for name in names if home_baseline(name, _data_of(config)) == config]
    return names


def _every(request: Request) -> list[str]:
    if not request.every:
        return []
    names = remedies_of(request.config, request.imbalance)
    if not names:
        there = sorted({name.split("/")[0] for name in remedy_names()})
        raise ValueError(
            f"--imbalance {request.imbalance}: there is no such remedy for {request.config}; imbalances are "
            f"{', '.join(there)}, some of them with remedies for the other detector alone"
        )
    return names


def _merged(former: Sequence[Arm], arms: Sequence[Arm]) -> list[Arm]:
    """The arms of before, as they were run, then the new ones. An iteration control serves all arms of its length."""
    merged: dict[str, Arm] = {arm.name: arm for arm in former}
    for arm in arms:
        known = merged.setdefault(arm.name, arm)
        if _moved(known.remedies, arm.remedies):
            merged[arm.name] = known = replace(known, remedies=arm.remedies)
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


def _moved(former: Sequence[str], now: Sequence[str]) -> bool:
    """Whether these are the same remedies, of which files lie elsewhere by now, as on another machine."""
    pairs = list(zip(former, now, strict=False))
    same = all(old == new or Path(old).name == Path(new).name and not Path(old).exists() for old, new in pairs)
    return len(former) == len(now) and former != now and same


def check_budget(plan: Plan, configs: Configs) -> list[str]:
    """What is known of equal budget before anything runs, by the configs of the arms.

    Raises:
        ValueError: a remedy changes something that is no remedy's to change (the batch, the optimizer, the length).
    """
    base, records = configs.base, []
    for arm in plan.arms:
        cfg = configs.of(arm)
        pins = {**config_pins(cfg, plan.split), "budget": plan.budget}
        pins[MADE] = made_by_remedy(base, cfg, plan.split, extra_iterations(arm, base), plan.tuned_keys())
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
        run = RunFolder(root / record.folder)
        if arm is None or arm.name in seen or record.status != "finished":
            continue
        seen.add(arm.name)
        config = kept_config(run)
        changes = config_changes(config, cell_config(plan, arm, record.seed, root)) if config is not None else []
        changes = [line for line in changes if not line.startswith("remedies:")]  # a file may lie elsewhere by now
        if changes:
            raise ValueError(
                f"the arm {arm.name!r} has changed since seed {record.seed} of it ran:\n  "
                + "\n  ".join(changes)
                + "\nChoose another --out, or undo the change"
            )


def has_length(arm: Arm) -> bool:
    """Whether it has iterations of its own."""
    return any(word.startswith(f"{ITERATIONS}=") for word in arm.overrides)


def with_time_budget(plan: Plan, pace: dict[str, float]) -> Plan:
    """Every arm gets so many iterations that it trains as long as the baseline, by the probed seconds a step.

    pace: {arm: seconds a step} of the baseline and of the arms that have no iterations of their own yet.
    """
    base = base_config(plan)
    arms = []
    for arm in plan.arms:
        if arm.name != BASELINE and arm.name in pace and not has_length(arm):
            count = max(1, round(iterations_of(base) * pace[BASELINE] / pace[arm.name]))
            arm = replace(arm, overrides=(*arm.overrides, f"{ITERATIONS}={count}"))
        arms.append(arm)
    return replace(plan, arms=tuple(arms))
