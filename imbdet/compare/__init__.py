"""Compare remedies on one base config: plan, run, judge, report.

    compare(Request("baselines/retinanet_shapes", ("focal_loss",), seeds=(0, 1, 2)), "output/focal", report=...)

    structures.py   an arm, a plan, a record, a comparison; the config of each run
    plan.py         from a request to a plan
    existing.py     from runs that are there to a plan
    fairness.py     equal budgets, control arms
    initial_weights.py  the same ones for all arms of a seed
    probe.py        what is trained before the grid: its cost, the tries of tuning, what controls are matched by
    run.py          one cell; the grid
    executors.py    local processes, Ray
    results.py      plan.json, results.jsonl, locks
    kept.py         what judging needs of a run, in a small file that outlives its folder
    judge.py        numbers of an arm, paired differences, verdicts
    curves.py       what training reported: curves, what a longer one would add, meters of the imbalance
    notes.py        the plan in words, and what a reader must know besides the numbers

The leader plans and judges; each cell is a process that trains one arm with one seed and evaluates its last weights.
Whatever is killed, the same call on the same folder goes on.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..engine.stop import stop_on_signals
from ..runs import LAST
from ..write import write_json
from .executors import LocalEngine
from .existing import collect_runs, keep
from .fairness import check_equal
from .initial_weights import keep_start, start_path
from .judge import compare_runs
from .notes import describe_plan
from .plan import make_plan
from .probe import PROBE, SEED, TUNING, costs, expected_seconds, match_controls, tune
from .results import LOCK, keep_base, locked, read_results, write_plan
from .run import Stopped, collect, forget_failures, refuse_another_machine, run_grid
from .structures import BASELINE, Arm, Comparison, Plan, Request, RunRecord, base_config, run_folder

__all__ = ["BASELINE", "Comparison", "Request", "Stopped", "compare", "compare_existing"]

Report = Callable[[Comparison, Path, list[RunRecord]], None]


def compare(
    request: Request,
    root: str | Path,
    report: Report,
    engine: Callable[[Plan], Any] = lambda plan: LocalEngine(),
    jobs: int = 1,
    plan_only: bool = False,
    retry_failed: bool = False,
    elsewhere: str = "refuse",
) -> Comparison | None:
    """Plan, run, judge and report a grid of arms and seeds.

    Args:
        root: the comparison's folder; an existing one is continued. report: gets comparison, folder and records.
        engine: plan -> what runs the cells (see `run`). jobs: runs at once, for the plan; 0 if a cluster decides.
        plan_only: print the plan, write nothing. retry_failed: run failed cells again.
        elsewhere: what becomes of seeds that were begun on another kind of processor: "refuse", "rerun" their runs
            here, or "mix" (a cluster; runs are then compared with those of the same processor only).

    Returns:
        The comparison; None with `plan_only`, or if no baseline has finished.

    Raises:
        ValueError, FileNotFoundError: what was asked for cannot be done; by name. Stopped: a signal came.
    """
    root = Path(root)
    plan, notes = make_plan(request, root)
    plan, cost = costs(plan, root)
    print(describe_plan(plan, read_results(root), root, cost, jobs))
    print("".join(f"  {note}\n" for note in notes), end="", flush=True)
    if plan_only:
        return None
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / LOCK, 1.0, f"another command runs the comparison in {root}; wait for it, or stop it"):
        keep_base(plan, root)
        write_plan(plan, root)
        write_json(root / PROBE, cost)
        if retry_failed:
            print(f"{forget_failures(plan, root)} failed runs are tried again")
        if elsewhere != "mix":
            again = refuse_another_machine(plan, root, cost.get("processor") or "", elsewhere == "rerun")
            print(f"{again} runs of another processor are computed again\n" if again else "", end="")
        with stop_on_signals() as stop:
            make_starts(plan, root, lambda trained, place: _run(trained, place, engine, stop, None))
            plan = tune(plan, root, lambda tries, place: _run(tries, place, engine, stop, None), _print)
        write_plan(plan, root)
        plan = match_controls(plan, root, _print, jobs)
        write_plan(plan, root)
        with stop_on_signals() as stop:
            records = _run(plan, root, engine, stop, expected_seconds(plan, base_config(plan), cost))
        return conclude(plan, records, root, report)


def compare_existing(
    folders: Sequence[str], root: str | Path, report: Report, split: str | None = None, primary: str = ""
) -> Comparison | None:
    """Judge and report runs and comparisons that are there already. Arguments and returns as `compare` has them."""
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    plan, records = collect_runs(folders, root, split, primary)
    keep(plan, records, folders, root)
    return conclude(plan, records, root, report)


def conclude(plan: Plan, records: list[RunRecord], root: Path, report: Report) -> Comparison | None:
    """Check that runs are comparable, judge them, report. None if no baseline has finished."""
    for record in records:
        if record.status == "failed":
            print(f"failed: {record.arm} seed {record.seed}: {record.reason}")
    if not any(record.arm == BASELINE and record.status == "finished" for record in records):
        return None
    for note in check_equal(records, plan.arms):
        print(f"note: {note}")
    comparison = compare_runs(plan, records, root)
    report(comparison, root, records)
    return comparison


def make_starts(plan: Plan, root: Path, run: Callable[[Plan, Path], list[RunRecord]]) -> None:
    """Write what all arms of a seed begin from: entries of the checkpoint that was given, or of one trained here.

    Raises:
        ValueError: a training of the start failed.
    """
    places = {seed: start_path(root, seed) for seed in plan.seeds}
    if plan.tune:
        places[SEED] = start_path(root / TUNING, SEED)
    places = {seed: path for seed, path in places.items() if plan.start and not path.is_file()}
    if not places:
        return
    checkpoints = dict.fromkeys(places, Path(plan.start))
    if not plan.start.endswith(".pth"):
        pinned = tuple(word for word in plan.overrides if word.startswith("train.num_threads="))
        trained, place = (
            Plan(
                plan.start,
                (Arm(BASELINE),),
                tuple(places),
                pinned,
                draw_data=plan.draw_data,
                resample_train=plan.resample_train,
            ),
            root / "start",
        )
        place.mkdir(parents=True, exist_ok=True)
        keep_base(trained, place)
        write_plan(trained, place)
        failed = [record.reason for record in run(trained, place) if record.status != "finished"]
        if failed:
            raise ValueError(f"--start {plan.start}: {failed[0]}")
        checkpoints = {seed: place / run_folder(BASELINE, seed) / LAST for seed in places}
    for seed, path in places.items():
        print(f"seed {seed} begins with {keep_start(checkpoints[seed], plan.start_keeps, path)} trained entries")


def _run(plan: Plan, root: Path, engine: Callable[[Plan], Any], stop: Any, expected: Any) -> list[RunRecord]:
    if len(collect(plan, root)) < len(plan.cells()):
        run_grid(plan, root, engine(plan), stop, _print, expected)
    return collect(plan, root)


def _print(line: str) -> None:
    print(line, flush=True)
