"""A plan of runs that are there already: of `imbdet train`, of comparisons, or both.

Of existing runs (run folders of `imbdet train`, folders of comparisons, or both) nothing is trained. A run that has not
been evaluated on the split is evaluated once, by its last weights, as the rule must be the same for all; its record
stays in its folder. Runs are one arm if they have the same remedies and the same config but for the seed. The first run
without remedies is the baseline.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from ..config import load_config
from ..engine.checkpoint import load_file
from ..engine.settings import read_settings
from ..runs import CONFIG, DETECTIONS, RunFolder
from ..write import write_json
from .fairness import MADE, config_changes, extra_iterations, made_by_remedy, with_declared_controls
from .kept import kept_config
from .plan import named_primary
from .results import BASE, RECORD, finish, has_plan, read_plan, read_record, read_results, write_plan, write_results
from .structures import BASELINE, Arm, Plan, Request, RunRecord, iterations_of


@dataclass
class _Run:
    """A run, its config, the folder that was named for it, and the arm if a comparison says which."""

    record: RunRecord
    cfg: DictConfig | None
    given: str
    arm: Arm | None = None


def collect_runs(
    folders: Sequence[str], root: Path, split: str | None = None, primary: str = ""
) -> tuple[Plan, list[RunRecord]]:
    """The plan that these folders amount to, and their records, with folders as seen from `root`.

    Args:
        split: None takes that of the first comparison among the folders, else "val". primary: "" takes that of the
            first comparison, else goes by the remedies.

    Raises:
        FileNotFoundError, ValueError: a folder that holds neither a run nor a comparison, an unfinished run, the same
            arm and seed twice, one arm with two configs, no baseline.
    """
    plans = {folder: read_plan(Path(folder)) for folder in folders if has_plan(Path(folder))}
    split = split or next((plan.split for plan in plans.values()), "val")
    found: list[_Run] = []
    for folder in dict.fromkeys(folders):
        found += _of_comparison(folder, plans[folder], split) if folder in plans else [_of_run(folder, split)]
    arms = _name_arms(found)
    records = [one.record for one in found]
    for one in found:
        _relative_to(one, root)
    _refuse_doubles(found)
    if not any(record.arm == BASELINE for record in records):
        names = ", ".join(dict.fromkeys(record.arm for record in records))
        raise ValueError(f"--runs: none of these runs ({names}) is a baseline; add a run without remedies")
    seeds = tuple(sorted({record.seed for record in records}))
    first = next(one for one in found if one.record.arm == BASELINE)
    config, overrides = _base_of(first, plans)
    budget = next((plan.budget for plan in plans.values()), "iterations")
    former = next(iter(plans.values()), None)
    drawn = {name: any(getattr(plan, name) for plan in plans.values()) for name in ("draw_data", "resample_train")}
    primary = named_primary(Request(config, primary=primary), former, arms)
    return Plan(config, tuple(arms), seeds, overrides, budget, split, primary, **drawn), records


def keep(plan: Plan, records: Sequence[RunRecord], folders: Sequence[str], root: Path) -> None:
    """Write plan.json and results.jsonl of a comparison of existing runs, for its report and for later.

    A grid's own folder keeps its own, and takes its report only.

    Raises:
        ValueError: `root` is the folder of another grid.
    """
    if (root / BASE).is_file():
        if {Path(folder).resolve() for folder in folders} != {root.resolve()}:
            raise ValueError(
                f"{root} holds a grid of its own, which this comparison would overwrite; choose another --out"
            )
        return
    write_plan(plan, root)
    write_results(root, records)


def _base_of(first: _Run, plans: dict[str, Plan]) -> tuple[str, tuple[str, ...]]:
    """Config and overrides of the baseline: as the comparison's plan names them, if that still means the same."""
    plan = plans.get(first.given)
    if plan is None:
        return str(Path(first.given).resolve()), ()
    kept = Path(first.given).resolve() / BASE
    if not kept.is_file():  # a comparison of existing runs, whose plan names one of them
        return plan.config, plan.overrides
    try:
        now = load_config(plan.config, (), plan.overrides, code=False)
    except (ValueError, OSError):
        return str(kept), ()
    return (str(kept), ()) if config_changes(load_config(kept), now) else (plan.config, plan.overrides)


def _of_comparison(folder: str, plan: Plan, split: str) -> list[_Run]:
    if plan.split != split:
        raise ValueError(
            f"{folder} was evaluated on split {plan.split}, this comparison is on {split}; give --split {plan.split}, "
            "or leave this folder out"
        )
    arms = {arm.name: arm for arm in plan.arms}
    found = []
    for record in read_results(Path(folder)):
        run = RunFolder(Path(folder) / record.folder)
        cfg = kept_config(run)
        if cfg is not None and plan.draw_data:
            cfg.data.seed = 0  # it is the seed, in which the runs of an arm may differ
        if cfg is not None and plan.resample_train:
            cfg.data.train.seed = 0
        if record.arm in arms:
            found.append(_Run(replace(record), cfg, folder, arms[record.arm]))
    if not found:
        raise ValueError(f"{folder} is a comparison in which no run has ended yet; run it first, or leave it out")
    return found


def _of_run(folder: str, split: str) -> _Run:
    """A run folder: its record if it is newer than the weights, else made now."""
    run = RunFolder(folder).checked()
    last, path = run.checkpoint("last"), run.path
    cfg = run.config()
    done, length = load_file(last)["iteration"], iterations_of(cfg)
    patience = read_settings(cfg).early_stopping.patience
    if done < length and not patience:
        raise ValueError(f"{folder} has done {done} of its {length} iterations: finish it first, with --resume")
    record = read_record(path)
    current = (path / RECORD).is_file() and (path / RECORD).stat().st_mtime >= last.stat().st_mtime
    if not current or record is None or record.pins.get("split") != split or not run.has(DETECTIONS):
        print(f"evaluating the last weights of {folder} on {split}", flush=True)
        record = RunRecord("", int(cfg.train.seed), ".", "finished", remedies=list(cfg.get("remedies") or ()))
        finish(cfg, path, split, record)
        record.pins["budget"] = "iterations"
        write_json(path / RECORD, asdict(record))
    record.folder = "."  # a cell of a grid calls its folder as the grid sees it
    return _Run(record, cfg, folder)


def _name_arms(found: Sequence[_Run]) -> list[Arm]:
    """Give every run of a bare folder its arm; the arms of all, the baseline first.

    The first bare run without remedies is the baseline, unless a comparison brings one. Runs with the same remedies
    and another config are arms of their own, called by their folders.
    """
    arms = {one.arm.name: one.arm for one in found if one.arm is not None}
    configs = {one.arm.name: one for one in reversed(found) if one.arm is not None and one.cfg is not None}
    for one in found:
        if one.arm is not None:
            _refuse_two_configs(one, configs.get(one.arm.name))
            continue
        wanted = "+".join(Path(name).stem for name in one.record.remedies) or BASELINE
        name = next((n for n, other in configs.items() if _same(one, other)), None)
        if name is None:
            name = wanted if wanted not in configs else f"{wanted} ({Path(one.given).resolve().name})"
            arms[name] = Arm(name, tuple(one.record.remedies))
            configs[name] = one
        one.arm, one.record.arm = arms[name], name
    _mark_remedies(found, configs.get(BASELINE))
    return with_declared_controls(sorted(arms.values(), key=lambda arm: arm.name != BASELINE))


def _same(one: _Run, other: _Run) -> bool:
    return not config_changes(other.cfg, one.cfg)


def _refuse_two_configs(one: _Run, first: _Run | None) -> None:
    changes = [] if one.cfg is None or first is None else config_changes(first.cfg, one.cfg)
    if changes:
        raise ValueError(
            f"arm {one.arm.name!r} is not the same in {first.given} and {one.given}:\n  " + "\n  ".join(changes)
        )


def _mark_remedies(found: Sequence[_Run], baseline: _Run | None) -> None:
    """Which differences from the baseline belong to the remedies of a bare run: what they change on its config."""
    for one in found:
        if baseline is None or one is baseline or MADE in one.record.pins:
            continue
        one.record.pins[MADE] = []
        if one.record.remedies:
            try:
                with_remedies = load_config(Path(baseline.given) / CONFIG, one.record.remedies, code=False)
            except (ValueError, FileNotFoundError):
                continue  # the remedy is not to be found here: its differences will be named
            extra = extra_iterations(Arm(one.record.arm, tuple(one.record.remedies)), baseline.cfg)
            if extra:
                with_remedies.train.max_iter = iterations_of(baseline.cfg) + extra
            split = one.record.pins["split"]
            one.record.pins[MADE] = made_by_remedy(baseline.cfg, with_remedies, split, extra)


def _relative_to(one: _Run, root: Path) -> None:
    folder = (Path(one.given) / one.record.folder).resolve()
    inside = folder.is_relative_to(root.resolve())
    one.record.folder = str(folder.relative_to(root.resolve()) if inside else folder)


def _refuse_doubles(found: Sequence[_Run]) -> None:
    seen: dict[tuple[str, int], str] = {}
    for one in found:
        key = (one.record.arm, one.record.seed)
        if key in seen:
            raise ValueError(f"{key[0]} with seed {key[1]} occurs twice: in {seen[key]} and in {one.given}; name one")
        seen[key] = one.given
