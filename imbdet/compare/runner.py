"""Run the cells of a plan until each has a line in results.jsonl.

What is notable here: this process alone writes plan.json and results.jsonl, whatever runs the cells. An engine starts
cells and tells which have ended; what came of them is read from the record in each run folder. So a grid that was
killed at any moment, leader and all, goes on from what its folder holds.

An engine (`local_engine`, `ray_engine`) has `capacity`, how many cells it takes at once, and `width`, how many of them
run; `start(root, arm, seed)`; `ended(timeout)` -> [((arm, seed), exit code, seconds it ran)]; and `stop()`, which asks
all running cells to stop and waits for them, or kills them when it is interrupted itself.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from .board import link_run
from .configs import arm_iterations, base_config, iterations_of
from .controls import is_pending, settle
from .store import (
    LOG,
    RECORD,
    append_result,
    arm_of,
    cells,
    folder_name,
    read_record,
    read_results,
    run_folder,
    write_plan,
    write_results,
)
from .structures import Plan, RunRecord

Cell = tuple[str, int]
HEARTBEAT, SHOWN = 60.0, 8  #: seconds between two lines about what is running; how many runs such a line names


class Stopped(SystemExit):
    """The grid was asked to stop, and its cells have written their checkpoints. code: 128 + signal."""

    def __init__(self, signum: int):
        self.signum = signum
        super().__init__(128 + signum)


def collect(plan: Plan, root: Path) -> list[RunRecord]:
    """The records of results.jsonl, with those added that cells have left but nobody has written down."""
    records = read_results(root)
    known = {(record.arm, record.seed) for record in records}
    for arm, seed in cells(plan):
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
        folder = root / run_folder(record.arm, record.seed)
        (folder / RECORD).unlink(missing_ok=True)
        if not record.reason.startswith(("out of memory", "killed")):
            _clear(folder)
    if failed:
        write_results(root, [record for record in records if record.status != "failed"])
    return len(failed)


def _clear(folder: Path) -> None:
    from ..engine import run_folder as engine_folder

    if folder.is_dir():
        engine_folder.clear(folder)
        shutil.rmtree(folder / "tb", ignore_errors=True)


def run_grid(
    plan: Plan,
    root: Path,
    engine: Any,
    stop: Any,
    say: Callable[[str], None] = print,
    expected: Mapping[str, float] | None = None,
) -> Plan:
    """Run what is not done. Returns the plan with the weights of its controls set.

    Args:
        stop: has `signum`, None until a signal has come (see `engine.stop`). expected: {arm: seconds of a run}, for the
            times that are foretold; without it they wait for the first run to end.

    Raises:
        Stopped: a signal came; the same call goes on.
    """
    grid = _Grid(plan, root, engine, say, expected)
    try:
        while grid.left():
            if stop.signum is not None:
                say("stopping: the runs write their checkpoints ...")
                raise Stopped(stop.signum)
            grid.settle()
            grid.start()
            grid.finish(engine.ended(0.2))
    finally:
        engine.stop()
    return grid.plan


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
        self.plan, self.root, self.engine, self.say = plan, root, engine, say
        self.records = collect(plan, root)
        done = {(record.arm, record.seed) for record in self.records}
        self.total = len(cells(plan))
        self.waiting = [cell for cell in cells(plan) if cell not in done]
        self.running: list[Cell] = []
        count = iterations_of(base_config(plan))
        self.length = {arm.name: arm_iterations(arm, count) for arm in plan.arms}
        self.pace = Pace(self.length, expected)
        self.spoke = time.monotonic()

    def left(self) -> bool:
        return bool(self.waiting or self.running)

    def settle(self) -> None:
        """Give the controls their weights as soon as they can be known."""
        plan, lines, lost = settle(self.plan, self.records, self.root)
        if lines:
            self.plan = plan
            write_plan(plan, self.root)
            for line in lines:
                self.say(line)
        for cell in [cell for cell in self.waiting if cell[0] in lost]:
            self.waiting.remove(cell)
            self._note(self._failed(cell, f"refused: {lost[cell[0]]}"))

    def start(self) -> None:
        for cell in list(self.waiting):
            if len(self.running) >= self.engine.capacity:
                return
            if is_pending(arm_of(self.plan, cell[0])):
                continue
            self.waiting.remove(cell)
            (self.root / run_folder(*cell)).mkdir(parents=True, exist_ok=True)
            link_run(self.root, folder_name(cell[0]), cell[1])
            self.engine.start(self.root, *cell)
            self.running.append(cell)
            self.pace.begin(cell, _iteration(self.root / run_folder(*cell)))

    def finish(self, ended: list[tuple[Cell, int, float]]) -> None:
        for cell, code, seconds in ended:
            self.running.remove(cell)
            record = read_record(self.root / run_folder(*cell)) or self._failed(cell, end_of(code))
            self.pace.end(cell, seconds)
            self._note(record, f" in {_clock(seconds)}")
        if self.running and time.monotonic() - self.spoke > HEARTBEAT:
            parts = [f"{_name(cell)} at {self._at(cell)}/{self.length[cell[0]]}" for cell in self.running[:SHOWN]]
            more = f" and {len(self.running) - SHOWN} more" if len(self.running) > SHOWN else ""
            self._say(f"running: {', '.join(parts)}{more}{self._eta()}")

    def _note(self, record: RunRecord, more: str = "") -> None:
        append_result(self.root, record)
        self.records.append(record)
        outcome = f"failed: {record.reason}"
        if record.status == "finished":
            ap = record.metrics.get("AP")
            outcome = "finished, AP " + ("not defined" if ap is None else f"{100 * ap:.2f}")
        done = self.total - len(self.waiting) - len(self.running)
        self._say(f"[{done}/{self.total}] {_name((record.arm, record.seed))} {outcome}{more}{self._eta()}")

    def _failed(self, cell: Cell, reason: str) -> RunRecord:
        arm = arm_of(self.plan, cell[0])
        overrides = [*self.plan.overrides, *arm.overrides]
        return RunRecord(*cell, run_folder(*cell), "failed", reason, list(arm.remedies), overrides)

    def _at(self, cell: Cell) -> int:
        return _iteration(self.root / run_folder(*cell))

    def _eta(self) -> str:
        """ "; eta 0:12:30", if it can be told."""
        ahead = [(arm, 0) for arm, _ in self.waiting] + [(cell[0], self._at(cell)) for cell in self.running]
        seconds = self.pace.seconds(ahead)
        if seconds is None or not ahead:
            return ""
        return f"; eta {_clock(seconds / max(1, min(self.engine.width, len(ahead))))}"

    def _say(self, line: str) -> None:
        self.spoke = time.monotonic()
        self.say(line)


class Pace:
    """How long runs take: what was expected of each, times how far those that ran whole in this session were from it.

    length: {arm: iterations}. expected: {arm: seconds}; None takes lengths, and nothing is told before one has ended.
    """

    def __init__(self, length: Mapping[str, int], expected: Mapping[str, float] | None = None):
        self.length, self.expected = length, expected or length
        self.ratio = 1.0 if expected else None
        self.spent, self.foretold, self.whole = 0.0, 0.0, set()

    def begin(self, cell: Cell, iteration: int) -> None:
        if iteration == 0:
            self.whole.add(cell)

    def end(self, cell: Cell, seconds: float) -> None:
        if cell in self.whole:
            self.spent += seconds
            self.foretold += self.expected[cell[0]]
            self.ratio = self.spent / self.foretold

    def seconds(self, ahead: Iterable[tuple[str, int]]) -> float | None:
        """ahead: (arm, iteration it is at) of every run that has not ended."""
        if self.ratio is None:
            return None
        return self.ratio * sum(self.expected[arm] * max(0.0, 1 - at / self.length[arm]) for arm, at in ahead)


def end_of(code: int) -> str:
    """Why a process ended that has left no record."""
    number = -code if code < 0 else code - 128
    if number == signal.SIGKILL:
        return "killed by SIGKILL, as the system does when memory runs out"
    if code < 0 or 128 < code < 160:
        try:
            return f"killed by {signal.Signals(number).name}"
        except ValueError:
            return f"killed by signal {number}"
    return f"error: its process ended with code {code}; see {LOG} in its folder"


def _iteration(folder: Path) -> int:
    """The last one that a run has reported; read from the end of metrics.jsonl."""
    try:
        with open(folder / "metrics.jsonl", "rb") as file:
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
