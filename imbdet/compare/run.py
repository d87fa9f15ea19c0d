"""Run a grid: one cell, and all cells of a plan until each has a line in results.jsonl.

A run may be killed at any moment and started again: one that has finished says so at once, one that is half done goes
on from its checkpoint, and two processes never work on the same cell. An error that belongs to the run (it diverged,
memory ran out, its config was refused) becomes a record; a request to stop leaves none. The leader alone writes
results.jsonl, from the records in the run folders, so a grid that was killed, leader and all, goes on as well.

An engine (see `executors`) has `capacity`, how many cells it takes at once, and `width`, how many of them run;
`start(root, arm, seed)`; `ended(timeout)` -> [((arm, seed), exit code, seconds it ran)]; and `stop()`, which asks all
running cells to stop and waits for them, or kills them when it is interrupted itself.
"""

import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..engine import run_folder as engine_folder
from ..engine import train
from ..mistakes import is_users_mistake
from ..runs import METRICS, PREVIOUS
from ..write import write_json
from .fairness import DRAWN, MADE, extra_iterations, made_by_remedy
from .initial_weights import shared_start
from .kept import Truths, keep_run
from .results import (
    LOCK,
    LOG,
    RECORD,
    append_result,
    finish,
    link_events,
    locked,
    read_plan,
    read_record,
    read_results,
    write_results,
)
from .structures import Arm, Cell, Plan, RunRecord, arm_iterations, base_config, cell_config, iterations_of, run_folder

FAILED = 3  #: exit code of a cell whose record says "failed"
WAIT = 300.0  #: seconds for a process that still has the run: one that was just asked to stop writes its checkpoint
HEARTBEAT, SHOWN = 60.0, 8  #: seconds between two lines about what is running; how many runs such a line names


def enter(root: str, name: str, seed: int) -> None:
    """Run a cell as the whole of a process, which ends with code 0, or FAILED."""
    raise SystemExit(0 if run_cell(Path(root), name, seed).status == "finished" else FAILED)


def run_cell(root: Path, name: str, seed: int) -> RunRecord:
    """Run the cell of arm `name` and `seed` in the comparison at `root`.

    Raises:
        Interrupted, KeyboardInterrupt: it was asked to stop; the same call goes on. OSError: the folder cannot be
        written, or is not to be seen from here. ValueError: another process does not let go of the run.
    """
    plan = read_plan(root)
    arm, folder = plan.arm(name), root / run_folder(name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, WAIT, f"another process has worked on {folder} for {WAIT:.0f} s; end it first"):
        record = read_record(folder)
        if record is not None and record.status == "finished":
            return record
        (folder / RECORD).unlink(missing_ok=True)
        record = failed(plan, (name, seed))
        try:
            _work(plan, arm, seed, root, record)
        except Exception as error:
            record.reason = reason_of(error)
            traceback.print_exc()
        write_json(folder / RECORD, asdict(record))
    return record


def _work(plan: Plan, arm: Arm, seed: int, root: Path, record: RunRecord) -> None:
    """Train, evaluate, and fill in the record."""
    cfg, base, folder = cell_config(plan, arm, seed, root), base_config(plan), root / record.folder
    cfg.train.init_shared = shared_start(base, cfg, arm.name, seed, root)
    train(cfg, resume=True)
    finish(cfg, folder, plan.split, record)
    (folder / PREVIOUS).unlink(missing_ok=True)  # it was for a kill; now it is half of the disk
    record.pins["budget"] = plan.budget
    if plan.draw_data or plan.resample_train:
        record.pins[DRAWN] = plan.draw_data or "data.train"
    record.pins[MADE] = made_by_remedy(base, cfg, plan.split, extra_iterations(arm, base), plan.tuned_keys())
    record.status = "finished"
    keep_run(root, record, Truths(plan.split))


def failed(plan: Plan, cell: Cell, reason: str = "") -> RunRecord:
    """Return the record of a cell that has not finished, or not yet."""
    arm = plan.arm(cell[0])
    overrides = [*plan.overrides, *arm.overrides]
    return RunRecord(*cell, run_folder(*cell), "failed", reason, list(arm.remedies), overrides)


def reason_of(error: BaseException) -> str:
    """Return one line on why a run failed."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(error, FloatingPointError) or "not finite" in text:  # a loss in training, a box in evaluation
        return f"diverged: {text}"
    if is_out_of_memory(error):
        return f"out of memory: {text}"
    if is_users_mistake(error):
        return f"refused: {text}"
    return f"error: {type(error).__name__}: {text}"


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether it, or what it came from, is a lack of memory; torch has no type of its own for that of the
    CPU.
    """
    words = ("out of memory", "can't allocate memory", "cannot allocate memory")
    while error is not None:
        if isinstance(error, MemoryError) or any(word in str(error).lower() for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False


class Stopped(SystemExit):
    """The grid was asked to stop, and its cells have written their checkpoints. code: 128 + signal."""

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(128 + signum)


def collect(plan: Plan, root: Path) -> list[RunRecord]:
    """Return the records of results.jsonl, with those added that cells have left but nobody has written down."""
    records = read_results(root)
    known = {(record.arm, record.seed) for record in records}
    for arm, seed in plan.cells():
        record = None if (arm, seed) in known else read_record(root / run_folder(arm, seed))
        if record is not None:
            append_result(root, record)
            records.append(record)
    return records


def forget_failures(plan: Plan, root: Path) -> int:
    """Take the failed cells out of results.jsonl, so that they are run again; how many there were.

    One that was killed or ran out of memory goes on from its checkpoint; any other would only fail again, so it
    starts anew.
    """
    records = collect(plan, root)
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        _forget(root, record, keep=record.reason.startswith(("out of memory", "killed")))
    if failed:
        write_results(root, [record for record in records if record.status != "failed"])
    return len(failed)


def _forget(root: Path, record: RunRecord, keep: bool = False) -> None:
    """Remove the record that a cell has left, and all else of its run unless that is to go on."""
    folder = root / run_folder(record.arm, record.seed)
    (folder / RECORD).unlink(missing_ok=True)
    if not keep:
        engine_folder.clear(folder)


def refuse_another_machine(plan: Plan, root: Path, machine: str, rerun: bool = False) -> int:
    """Take care that each seed is computed by one kind of machine, as one seed gives other results on another.

    Args:
        machine: this kind of machine, "" if unknown. rerun: forget the runs of others in seeds that are not complete.

    Returns:
        How many runs were forgotten.

    Raises:
        ValueError: a seed that is not complete has runs of another machine.
    """
    records = collect(plan, root)
    done = {(record.arm, record.seed) for record in records}
    left = {seed for arm, seed in plan.cells() if (arm, seed) not in done}
    known = [record for record in records if record.status == "finished" and record.machine and machine]
    others = [record for record in known if record.seed in left and record.machine != machine]
    if others and not rerun:
        seeds = ", ".join(map(str, sorted({record.seed for record in others})))
        raise ValueError(
            f"seeds {seeds} were begun on {others[0].machine}, and this is {machine}: one seed differs by 1 to 4 AP "
            f"between processors. Give --rerun-elsewhere to compute their {len(others)} finished runs again here, "
            "--seeds with seeds that are complete or new, or continue there"
        )
    for record in others:
        _forget(root, record)
    if others:
        write_results(root, [record for record in records if record not in others])
    return len(others)


def run_grid(
    plan: Plan,
    root: Path,
    engine: Any,
    stop: Any,
    say: Callable[[str], None] = print,
    expected: Mapping[str, float] | None = None,
) -> None:
    """Run what is not done.

    Args:
        stop: has `signum`, None until a signal has come (see `engine.stop`). expected: {arm: seconds of a run}, for the
            remaining time; without it that is unknown until the first run has ended.

    Raises:
        Stopped: a signal came; the same call goes on.
    """
    grid = _Grid(plan, root, engine, say, expected)
    try:
        while grid.waiting or grid.running:
            if stop.signum is not None:
                say("stopping: the runs write their checkpoints ...")
                raise Stopped(stop.signum)
            grid.start()
            grid.finish(engine.ended(0.2))
    finally:
        engine.stop()


class _Grid:
    """Which cells are done, running and waiting; a line for each that ends."""

    def __init__(
        self,
        plan: Plan,
        root: Path,
        engine: Any,
        say: Callable[[str], None],
        expected: Mapping[str, float] | None = None,
    ):
        self.plan, self.root, self.engine, self.print = plan, root, engine, say
        done = {(record.arm, record.seed) for record in collect(plan, root)}
        self.total = len(plan.cells())
        self.waiting = [cell for cell in plan.cells() if cell not in done]
        self.running: list[Cell] = []
        count = iterations_of(base_config(plan))
        self.length = {arm.name: arm_iterations(arm, count) for arm in plan.arms}
        self.pace = Pace(self.length, expected)
        self.last_line = time.monotonic()

    def start(self) -> None:
        while self.waiting and len(self.running) < self.engine.capacity:
            cell = self.waiting.pop(0)
            (self.root / run_folder(*cell)).mkdir(parents=True, exist_ok=True)
            link_events(self.root, *cell)
            self.engine.start(self.root, *cell)
            self.running.append(cell)
            self.pace.begin(cell, self._at(cell))

    def finish(self, ended: list[tuple[Cell, int, float]]) -> None:
        for cell, code, seconds in ended:
            self.running.remove(cell)
            record = read_record(self.root / run_folder(*cell)) or failed(self.plan, cell, end_of(code))
            self.pace.end(cell, seconds)
            append_result(self.root, record)
            outcome = f"failed: {record.reason}"
            if record.status == "finished":
                ap = record.metrics.get("AP")
                outcome = "finished, AP " + ("not defined" if ap is None else f"{100 * ap:.2f}")
            done = self.total - len(self.waiting) - len(self.running)
            self._say(f"[{done}/{self.total}] {_name(cell)} {outcome} in {_clock(seconds)}")
        if self.running and time.monotonic() - self.last_line > HEARTBEAT:
            parts = [f"{_name(cell)} at {self._at(cell)}/{self.length[cell[0]]}" for cell in self.running[:SHOWN]]
            more = f" and {len(self.running) - SHOWN} more" if len(self.running) > SHOWN else ""
            self._say(f"running: {', '.join(parts)}{more}")

    def _at(self, cell: Cell) -> int:
        return _iteration(self.root / run_folder(*cell) / METRICS)

    def _say(self, line: str) -> None:
        """With the remaining time, if it is known: "; eta 0:12:30"."""
        self.last_line = time.monotonic()
        ahead = [(arm, 0) for arm, _ in self.waiting] + [(cell[0], self._at(cell)) for cell in self.running]
        seconds = self.pace.seconds(ahead)
        known = seconds is not None and ahead
        self.print(line + (f"; eta {_clock(seconds / max(1, min(self.engine.width, len(ahead))))}" if known else ""))


class Pace:
    """How long runs take: the expected time of each, scaled by those that ran from begin to end in this session.

    length: {arm: iterations}. expected: {arm: seconds}; None takes lengths, and no time is known before one has ended.
    """

    def __init__(self, length: Mapping[str, int], expected: Mapping[str, float] | None = None):
        self.length, self.expected = length, expected or length
        self.ratio = 1.0 if expected else None
        self.spent, self.planned, self.whole = 0.0, 0.0, set()

    def begin(self, cell: Cell, iteration: int) -> None:
        if iteration == 0:
            self.whole.add(cell)

    def end(self, cell: Cell, seconds: float) -> None:
        if cell in self.whole:
            self.spent += seconds
            self.planned += self.expected[cell[0]]
            self.ratio = self.spent / self.planned

    def seconds(self, ahead: Iterable[tuple[str, int]]) -> float | None:
        """ahead: (arm, iteration it is at) of every run that has not ended."""
        if self.ratio is None:
            return None
        return self.ratio * sum(self.expected[arm] * max(0.0, 1 - at / self.length[arm]) for arm, at in ahead)


def end_of(code: int) -> str:
    """Return why a process ended that has left no record."""
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return "killed by SIGKILL, as the system does when memory runs out"
    if code < 0 or 128 < code < 160:
        try:
            return f"killed by {signal.Signals(number).name}"
        except ValueError:
            return f"killed by signal {number}"
    return f"error: its process ended with code {code}; see {LOG} in its folder"


def _iteration(path: Path) -> int:
    """The last one that a run has reported; read from the end of its metrics.jsonl."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65536))
            lines = file.read().split(b"\n")
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["iteration"])
        except (ValueError, KeyError, TypeError):
            continue
    return 0


def _name(cell: Cell) -> str:
    return f"{cell[0]} seed {cell[1]}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
