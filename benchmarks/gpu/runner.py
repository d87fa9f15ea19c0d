"""Units of the parts in child processes, each with a limit; what was measured is on the disk after every unit."""

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from imbdet.cores import usable_cores

from .child import serve
from .parts import Part

STARTS = 45.0  #: seconds more for the first unit of a process, which imports torch and opens the device
PATIENCE = 8  #: how much longer a unit may take on a CPU


@dataclass
class Worker:
    process: Any
    pipe: Any
    unit: str
    until: float


@dataclass
class Work:
    """One part under way. rows: unit -> figures."""

    part: Part
    units: deque
    until: float
    width: int
    rows: dict[str, dict]
    began: float = field(default_factory=time.monotonic)
    workers: list[Worker] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return bool(self.workers or self.units)


class Runner:
    """Does parts and keeps their rows in `done`: part -> {"title", "seconds", "units": {unit: row}}.

    Args:
        device: "cuda" or "cpu". small: reduced sizes. log: file for what the children print. changed: called after
            each unit.
    """

    def __init__(self, device: str, small: bool, log: Path, changed: Callable[[], None]):
        self.device, self.small, self.log, self.changed = device, small, log, changed
        self.done: dict[str, dict] = {}
        self.context = multiprocessing.get_context("spawn")

    def wave(self, parts: Sequence[Part], seconds: float, only: str = "*") -> None:
        """Do these parts at once, for so many seconds at most.

        only: pattern of the names of units.
        """
        cores, works = usable_cores(), []
        wanted = sum(part.width for part in parts)
        for part in parts:
            units = [unit for unit in part.module.units(self.small) if fnmatch(unit, only)]
            rows: dict[str, dict] = {}
            self.done[part.name] = {"title": part.title, "seconds": 0.0, "units": rows}
            width = max(1, min(part.width, round(part.width * cores / wanted), len(units) or 1))
            works.append(Work(part, deque(units), time.monotonic() + seconds, width, rows))
        self.threads = max(1, cores // sum(work.width for work in works))
        while any(work.open for work in works):
            for work in works:
                self._fill(work)
            self._collect(works)
            for work in works:
                self._give_up(work)

    def _fill(self, work: Work) -> None:
        while work.units and len(work.workers) < work.width and time.monotonic() < work.until:
            pipe, theirs = self.context.Pipe()
            arguments = (theirs, work.part, self.device, self.small, str(self.log), self.threads)
            process = self.context.Process(target=serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            work.workers.append(Worker(process, pipe, "", 0.0))
            self._next(work, work.workers[-1], STARTS * (PATIENCE if self.small else 1))

    def _next(self, work: Work, worker: Worker, more: float = 0.0) -> None:
        """Hand the worker its next unit, or let it go."""
        try:
            if work.units and time.monotonic() < work.until:
                worker.unit, worker.until = work.units.popleft(), time.monotonic() + self._limit(work.part) + more
                worker.pipe.send(worker.unit)
                return
            worker.pipe.send(None)
        except OSError:
            if worker.unit not in work.rows:
                self._keep(work, worker.unit, {"short": ["the process ended before it began"]})
        work.workers.remove(worker)
        worker.process.join(5)
        _end(worker)

    def _collect(self, works: Sequence[Work]) -> None:
        of_pipe = {worker.pipe: (work, worker) for work in works for worker in work.workers}
        for pipe in wait(list(of_pipe), timeout=0.2) if of_pipe else ():
            work, worker = of_pipe[pipe]
            try:
                row = pipe.recv()
            except (EOFError, OSError):
                worker.process.join(5)
                row = {"short": [f"the process ended with code {worker.process.exitcode}"], "unusable": "ended"}
            unusable = row.pop("unusable", "")
            if unusable and not row.get("short"):
                row["short"] = [f"the device cannot be used any more after it: {unusable}"]
            self._keep(work, worker.unit, row)
            if unusable:
                work.workers.remove(worker)
                _end(worker)
            else:
                self._next(work, worker)

    def _give_up(self, work: Work) -> None:
        now = time.monotonic()
        for worker in list(work.workers):
            if now > min(worker.until, work.until):
                why = "part" if now > work.until else f"unit, {self._limit(work.part):g} s"
                work.workers.remove(worker)
                _end(worker)
                self._keep(work, worker.unit, {"short": [f"cut off at the limit of the {why}"]})
        if now > work.until:
            while work.units:
                self._keep(work, work.units.popleft(), {"short": ["not reached within the time of the part"]})

    def _limit(self, part: Part) -> float:
        return part.unit_s * (PATIENCE if self.small else 1)

    def _keep(self, work: Work, unit: str, row: dict) -> None:
        work.rows[unit] = row
        self.done[work.part.name]["seconds"] = round(time.monotonic() - work.began, 1)
        self.changed()


def _end(worker: Worker) -> None:
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def shortfalls(done: dict[str, dict]) -> list[str]:
    """One line for each thing that falls short."""
    return [
        f"{name}: {unit}: {reason}"
        for name, part in done.items()
        for unit, row in part["units"].items()
        for reason in row.get("short", ())
    ]


def skipped(done: dict[str, dict]) -> list[str]:
    """One line for each reason for which something was not done, with how often."""
    reasons: dict[str, list[str]] = {}
    for name, part in done.items():
        for unit, row in part["units"].items():
            if row.get("skipped"):
                reasons.setdefault(f"{name}: {row['skipped']}", []).append(unit)
    return [
        f"{reason} ({', '.join(units[:3])}{', ...' if len(units) > 3 else ''})" for reason, units in reasons.items()
    ]
