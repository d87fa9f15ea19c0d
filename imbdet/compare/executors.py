"""Where cells run: processes of this machine, or tasks of a Ray cluster.

The processes are forked from a server that has imported torch and torchvision already, which saves the 4 seconds of
that import in every run of a grid. The server is started by python's multiprocessing, so it holds no threads, no device
and none of our modules. A pipe tells each process that its parent is alive; when that is killed, even by SIGKILL, the
process asks itself to stop, as for SIGTERM: a training writes its checkpoint and leaves.

A task of Ray only watches the process of its cell. All that a run writes goes to the comparison's folder, which every
machine must see at the same path; a worker that is lost leaves a checkpoint there, and Ray starts the task elsewhere.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ..config.allowed import TRUSTED
from ..cores import VISIBLE_GPUS, usable_cores
from ..write import print_to
from .results import LOG, PLAN
from .run import enter
from .structures import Cell, run_folder

PRELOADED = ["torch", "torchvision", "omegaconf", "numpy"]  #: not imbdet: which copy of it runs is the parent's choice
#: variables that may have changed since the server of processes began: a worker of Ray gets another GPU for each task
CARRIED = (TRUSTED, VISIBLE_GPUS)
RETRIES = 3  #: how often a task is started again whose worker or machine was lost
REFRESH = 10.0  #: seconds between two looks at how large the cluster is


class LocalEngine:
    """Cells in processes of this machine, `jobs` at once. gpus: ids that they share in turns; () leaves them alone."""

    def __init__(self, jobs: int = 1, gpus: tuple[str, ...] = ()):
        self.capacity = self.width = jobs
        self.gpus = gpus
        self.running: dict[Cell, Process] = {}
        self.places: dict[Cell, int] = {}
        self.began: dict[Cell, float] = {}

    def start(self, root: Path, arm: str, seed: int) -> None:
        place = next(i for i in range(self.capacity) if i not in self.places.values())
        visible = {VISIBLE_GPUS: self.gpus[place % len(self.gpus)]} if self.gpus else {}
        log = root / run_folder(arm, seed) / LOG
        self.running[arm, seed] = Process(enter, (str(root), arm, seed), log, visible)
        self.places[arm, seed] = place
        self.began[arm, seed] = time.monotonic()

    def ended(self, timeout: float) -> list[tuple[Cell, int, float]]:
        wait([process.sentinel for process in self.running.values()], timeout)
        codes = {cell: process.exitcode for cell, process in self.running.items() if process.exitcode is not None}
        for cell in codes:
            del self.running[cell], self.places[cell]
        return [(cell, code, time.monotonic() - self.began.pop(cell)) for cell, code in codes.items()]

    def stop(self) -> None:
        for process in self.running.values():
            process.stop()
        try:
            for process in self.running.values():
                process.wait()
        except KeyboardInterrupt:
            for process in self.running.values():
                process.kill()
            raise
        finally:
            self.running.clear()


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
        self.looked, self.places = -REFRESH, 0
        self.owned = not ray.is_initialized()
        if self.owned:
            _begin(ray)
        self.running: dict[Cell, Any] = {}
        self._check()
        self.task = ray.remote(run_cell_here).options(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)

    @property
    def width(self) -> int:
        """Runs that the machines which are there by now have room for."""
        if time.monotonic() - self.looked > REFRESH:
            self.looked = time.monotonic()
            self.places = sum(places(machine, self.cpus, self.gpus) for machine in self._machines())
        return min(self.places, self.jobs or self.places)

    @property
    def capacity(self) -> int:
        """One more than there is room for, so that a cluster that grows on demand sees a demand."""
        return self.jobs or self.width + 1

    def start(self, root: Path, arm: str, seed: int) -> None:
        reference = self.task.remote(os.path.abspath(root), str(root), arm, seed, os.getcwd(), os.environ.get(TRUSTED))
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
        raise ValueError(
            f"a run asks for {asked}, but the machines of the cluster have {there}; give less by --cpus-per-run and "
            "--gpus-per-run"
        )

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
        ray.init(address="local", num_cpus=usable_cores(), include_dashboard=False, **quiet)


def places(machine: dict[str, float], cpus: float, gpus: float) -> int:
    """Return how many runs fit on a machine with these resources.

    Example:
        >>> places({"CPU": 16, "GPU": 2}, 4, 1), places({"CPU": 16}, 4, 1), places({"CPU": 3}, 1, 0)
        (2, 0, 3)
    """
    room = [machine.get(name, 0) // each for name, each in (("CPU", cpus), ("GPU", gpus)) if each]
    return int(min(room))


def run_cell_here(
    absolute: str, root: str, arm: str, seed: int, folder: str, trusted: str | None = None
) -> tuple[int, float]:
    """Run a cell in a process of its own, on a worker; return its exit code and the seconds it took.

    absolute: the comparison's folder; root: the same as it was named, from the working directory `folder`. trusted:
    what the leader's user trusts.
    """
    if not (Path(absolute) / PLAN).is_file():
        raise FileNotFoundError(
            f"--out {absolute} is not seen from {os.uname().nodename}; it must be at the same path on all machines"
        )
    if os.path.isdir(folder):
        os.chdir(folder)
    cell = (root if os.path.abspath(root) == absolute else absolute, arm, seed)
    began = time.monotonic()
    process = Process(enter, cell, Path(absolute) / run_folder(arm, seed) / LOG, {TRUSTED: trusted})
    try:
        while process.wait(0.5) is None:  # in pieces: a cancelled task hears of it between two calls
            pass
        return process.exitcode, time.monotonic() - began
    except BaseException:  # cancelled: KeyboardInterrupt
        process.stop()
        process.wait()
        raise


class Process:
    """`function(*arguments)` elsewhere; both must be importable by name.

    Args:
        log: its stdout and stderr are added to this file. environment: variables set in it; None removes one. Those
        in `CARRIED` are as they are here by now, without being named.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: tuple,
        log: Path,
        environment: Mapping[str, str | None] | None = None,
    ):
        context = _context()
        watched, self._alive = context.Pipe(duplex=False)
        self._answers, answer = context.Pipe(duplex=False)
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        environment = {name: os.environ.get(name) for name in CARRIED} | dict(environment or {})
        work = (function, arguments, str(log), environment, os.getcwd(), watched, answer)
        self._process = context.Process(target=_run, args=work)
        self._process.start()
        watched.close()
        answer.close()

    @property
    def sentinel(self) -> int:
        """Ready, for `multiprocessing.connection.wait`, when the process has ended."""
        return self._process.sentinel

    @property
    def exitcode(self) -> int | None:
        """None while it runs; below 0, minus the signal that ended it."""
        return self._process.exitcode

    def answer(self) -> Any:
        """Return what the function returned, once the process has ended.

        Raises:
            RuntimeError: it raised, with the first line of the error; or it ended without an answer.
        """
        try:
            kind, value = self._answers.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the process ended with code {self.exitcode} and no answer") from None
        self._process.join()
        if kind == "raised":
            raise RuntimeError(value)
        return value

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self.exitcode

    def stop(self) -> None:
        """Ask it to stop: a training writes its checkpoint first."""
        if self._process.is_alive():
            self._process.terminate()

    def kill(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()


def _context() -> Any:
    forks = sys.platform == "linux" and "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if forks else "spawn")
    if forks:
        context.set_forkserver_preload(PRELOADED)
    return context


def _run(
    function: Callable[..., Any],
    arguments: tuple,
    log: str,
    environment: dict[str, str | None],
    folder: str,
    watched: Connection,
    answer: Connection,
) -> None:
    """What runs in the process."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C in a terminal is for the parent alone, who passes it on once
    os.chdir(folder)
    for name, value in environment.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    print_to(log)
    threading.Thread(target=_watch, args=(watched,), daemon=True).start()
    code = 0
    try:
        answer.send(("returned", function(*arguments)))
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        traceback.print_exc()
        code = 1
        answer.send(("raised", (str(error).strip() or type(error).__name__).splitlines()[0]))
    finally:
        _end_loaders()
        sys.stdout.flush()
        sys.stderr.flush()
    sys.exit(code)


def _watch(watched: Connection) -> None:
    """Wait for the end of the parent, which closes the pipe, and ask this process to stop."""
    try:
        watched.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _end_loaders() -> None:
    """A process of multiprocessing leaves without python's `atexit`, by which the loaders' workers would be ended."""
    loader = sys.modules.get("imbdet.data.loader")
    if loader is not None:
        loader.end_workers()
