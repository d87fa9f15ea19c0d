"""Cells as tasks of a Ray cluster: the one at RAY_ADDRESS, or one of this machine.

What is notable here: a task only watches the process of its cell. All that a run writes goes to the comparison's
folder, which every machine must see at the same path; a worker that is lost leaves a checkpoint there, and Ray starts
the task again elsewhere. A worker's death ends the cell's process, too (see `process`).
"""

import os
from pathlib import Path
from typing import Any

from .cell import enter
from .process import Process
from .store import LOG, run_folder
from .structures import PLAN

RETRIES = 3  #: how often a task is started again whose worker or machine was lost


class RayEngine:
    """Starts or joins a cluster. cpus, gpus: of one run. capacity: cells that are handed to Ray at once.

    Raises:
        ImportError: Ray is not installed. ValueError: no machine of the cluster has the CPUs and GPUs of one run.
    """

    def __init__(self, cpus: float = 1, gpus: float = 0, capacity: int | None = None):
        try:
            import ray
        except ImportError as error:
            raise ImportError("--engine ray needs Ray: pip install 'imbdet[sweep]'") from error
        self.ray, self.capacity = ray, capacity or 10_000
        self.owned = not ray.is_initialized()
        if self.owned:
            _begin(ray)
        _check(ray, cpus, gpus)
        self.task = ray.remote(run_cell_here).options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)
        self.running: dict[tuple[str, int], Any] = {}

    def start(self, root: Path, arm: str, seed: int) -> None:
        reference = self.task.remote(os.path.abspath(root), str(root), arm, seed, os.getcwd())
        self.running[arm, seed] = reference

    def ended(self, timeout: float) -> list[tuple[tuple[str, int], int]]:
        if not self.running:
            return []
        by_reference = {reference: cell for cell, reference in self.running.items()}
        ready, _ = self.ray.wait(list(by_reference), num_returns=len(by_reference), timeout=timeout)
        found = []
        for reference in ready:
            cell = by_reference[reference]
            del self.running[cell]
            found.append((cell, self._code(reference)))
        return found

    def _code(self, reference: Any) -> int:
        """The exit code of a cell; -9 if Ray gave it up, with its workers lost or its memory short."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.RayTaskError as error:
            raise error.as_instanceof_cause() from error
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError, errors.RaySystemError):
            return -9

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


def _check(ray: Any, cpus: float, gpus: float) -> None:
    """Raises ValueError where a task would wait for ever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(machine.get("CPU", 0) >= cpus and machine.get("GPU", 0) >= gpus for machine in machines):
        return
    there = "; ".join(f"{machine.get('CPU', 0):g} CPUs and {machine.get('GPU', 0):g} GPUs" for machine in machines)
    raise ValueError(f"a run asks for {cpus:g} CPUs and {gpus:g} GPUs, but the machines of the cluster have {there}")


def run_cell_here(absolute: str, root: str, arm: str, seed: int, folder: str) -> int:
    """On a worker: run a cell in a process of its own; its exit code.

    absolute: the comparison's folder; root: the same as it was named, from the working directory `folder`.
    """
    if not (Path(absolute) / PLAN).is_file():
        raise ValueError(f"the folder {absolute} is not to be seen from {os.uname().nodename}: Ray needs a shared one")
    if os.path.isdir(folder):
        os.chdir(folder)
    words = [root if os.path.abspath(root) == absolute else absolute, arm, str(seed)]
    process = Process(enter, (words,), Path(absolute) / run_folder(arm, seed) / LOG)
    try:
        while process.wait(0.5) is None:  # in pieces: a cancelled task hears of it between two calls
            pass
        return process.exitcode
    except BaseException:  # cancelled: KeyboardInterrupt
        process.stop()
        process.wait()
        raise
