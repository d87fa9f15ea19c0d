"""A function in a process of its own, with its output in a file, that ends when the process that asked for it ends.

What is notable here: the processes are forked from a server that has imported torch and torchvision already, which
saves the 4 seconds of that import in every run of a grid. The server is started afresh by python's multiprocessing, so
it holds no threads, no device and none of our modules. A pipe tells each process that its asker is alive; when that is
killed, even by SIGKILL, the process asks itself to stop, as for SIGTERM: a training writes its checkpoint and leaves.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PRELOADED = ["torch", "torchvision", "omegaconf", "numpy"]  #: not imbdet: which copy of it runs is the asker's choice


class Process:
    """`function(*arguments)` elsewhere; both must be importable by name.

    Args:
        log: its stdout and stderr are added to this file. environment: variables set in it; None removes one.
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
        work = (function, arguments, str(log), dict(environment or {}), os.getcwd(), watched, answer)
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
        """What the function returned, once the process has ended.

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
        os.setsid()  # Ctrl-C in a terminal is for the asker alone, who passes it on once
    os.chdir(folder)
    for name, value in environment.items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    _write_to(log)
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


def _write_to(log: str) -> None:
    """Everything that this process and its children print goes to the end of a file, line by line."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)


def _watch(watched: Connection) -> None:
    """Wait for the end of the asker, which closes the pipe, and ask this process to stop."""
    try:
        watched.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _end_loaders() -> None:
    """A process of multiprocessing leaves without python's `atexit`, by which the loaders' workers would be ended."""
    loader = sys.modules.get("imbdet.data.loader")
    if loader is not None:
        loader.end_workers()
