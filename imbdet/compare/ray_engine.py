"""Cells as tasks of a Ray cluster: the one at RAY_ADDRESS, or one of this machine.

What is notable here: a task only watches the process of its cell. All that a run writes goes to the comparison's
folder, which every machine must see at the same path; a worker that is lost leaves a checkpoint there, and Ray starts
the task again elsewhere. A worker's death ends the cell's process, too (see `process`).
"""

import os
import time
from pathlib import Path
from typing import Any

from .cell import enter
from .process import Process
from .store import LOG, run_folder
from .structures import PLAN

RETRIES = 3  #: how often a task is started again whose worker or machine was lost
LOOK = 10.0  #: seconds between two looks at how large the cluster is
Cell = tuple[str, int]


class RayEngine:
    """Starts or joins a cluster. cpus, gpus: of one run. jobs: the most runs at once; None leaves it to the cluster.

    Raises:
        ImportError: Ray is not installed. ConnectionError: no cluster answers at RAY_ADDRESS. ValueError: no machine
            of the cluster has the CPUs and GPUs of one run.
    """

    def __init__(self, cpus: float = 1, gpus: float = 0, jobs: int | None = None):
        try:
            import ray
        except ImportError as error:
            raise ImportError("--engine ray needs Ray: pip install 'imbdet[sweep]'") from error
        self.ray, self.cpus, self.gpus, self.jobs = ray, cpus, gpus, jobs
        self.looked, self.places = -LOOK, 0
        self.owned = not ray.is_initialized()
        if self.owned:
            _begin(ray)
        self.running: dict[Cell, Any] = {}
        self._check()
        self.task = ray.remote(run_cell_here).options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)

    @property
    def width(self) -> int:
        """Runs that the machines which are there by now have room for."""
        if time.monotonic() - self.looked > LOOK:
            self.looked = time.monotonic()
            self.places = sum(places(machine, self.cpus, self.gpus) for machine in self._machines())
        return min(self.places, self.jobs or self.places)

    @property
    def capacity(self) -> int:
        """One more than there is room for, so that a cluster that grows on demand sees a demand."""
        return self.jobs or self.width + 1

    def start(self, root: Path, arm: str, seed: int) -> None:
        reference = self.task.remote(os.path.abspath(root), str(root), arm, seed, os.getcwd())
        self.running[arm, seed] = reference

    def ended(self, timeout: float) -> list[tuple[Cell, int, float]]:
        if not self.running:
            return []
        by_reference = {reference: cell for cell, reference in self.running.items()}
        ready, _ = self.ray.wait(list(by_reference), num_returns=len(by_reference), timeout=timeout)
        found = []
        for reference in ready:
            cell = by_reference[reference]
            del self.running[cell]
            found.append((cell, *self._outcome(reference)))
        return found

    def _outcome(self, reference: Any) -> tuple[int, float]:
        """Exit code and seconds of a cell; -9 if Ray gave it up, with its workers lost or its memory short.

        Raises:
            FileNotFoundError: a machine does not see the comparison's folder.
        """
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, FileNotFoundError):
                raise FileNotFoundError(str(error.cause)) from None
            return 1, 0.0
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.RaySystemError):
            return -9, 0.0

    def _machines(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def _check(self) -> None:
        """Raises ValueError where a task would wait for ever."""
        if self.width:
            return
        there = "; ".join(f"{m.get('CPU', 0):g} CPUs and {m.get('GPU', 0):g} GPUs" for m in self._machines())
        asked = f"{self.cpus:g} CPUs and {self.gpus:g} GPUs"
        self.stop()
        raise ValueError(f"a run asks for {asked}, but the machines of the cluster have {there}")

    def stop(self) -> None:
        """Cancel what runs: each task asks its process to stop, and waits for it."""
        for reference in self.running.values():
            self.ray.cancel(reference)
        try:
            if self.running:
                self.ray.wait(list(self.running.values()), num_returns=len(self.running), timeout=300)
        finally:
            self.running.clear()
            if self.owned:
                self.ray.shutdown()
                self.owned = False


def _begin(ray: Any) -> None:
    quiet = dict(log_to_driver=False, logging_level="ERROR")
    address = os.environ.get("RAY_ADDRESS")
    if address:
        try:
            ray.init(**quiet)
        except ConnectionError as error:
            raise ConnectionError(
                f"no cluster answers at RAY_ADDRESS={address}; one that wants a token needs RAY_AUTH_MODE=token here"
            ) from error
    else:
        ray.init(address="local", num_cpus=os.cpu_count(), include_dashboard=False, **quiet)


def places(machine: dict[str, float], cpus: float, gpus: float) -> int:
    """How many runs fit on a machine with these resources.

    Example:
        >>> places({"CPU": 16, "GPU": 2}, 4, 1), places({"CPU": 16}, 4, 1), places({"CPU": 3}, 1, 0)
        (2, 0, 3)
    """
    room = [machine.get(name, 0) // each for name, each in (("CPU", cpus), ("GPU", gpus)) if each]
    return int(min(room))


def run_cell_here(absolute: str, root: str, arm: str, seed: int, folder: str) -> tuple[int, float]:
    """On a worker: run a cell in a process of its own; its exit code and the seconds it took.

    absolute: the comparison's folder; root: the same as it was named, from the working directory `folder`.
    """
    if not (Path(absolute) / PLAN).is_file():
        raise FileNotFoundError(f"{absolute} is not to be seen from {os.uname().nodename}: Ray needs a shared folder")
    if os.path.isdir(folder):
        os.chdir(folder)
    words = [root if os.path.abspath(root) == absolute else absolute, arm, str(seed)]
    began = time.monotonic()
    process = Process(enter, (words,), Path(absolute) / run_folder(arm, seed) / LOG)
    try:
        while process.wait(0.5) is None:  # in pieces: a cancelled task hears of it between two calls
            pass
        return process.exitcode, time.monotonic() - began
    except BaseException:  # cancelled: KeyboardInterrupt
        process.stop()
        process.wait()
        raise
