"""SIGTERM and Ctrl-C: finish the step, write a checkpoint, leave. A second signal leaves at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(SystemExit):
    """A run that was asked to stop and has written its checkpoint; the exit code is the shell's 128 + signal (130,
    143).
    """

    def __init__(self, signum: int, iteration: int):
        self.signum, self.iteration = signum, iteration
        super().__init__(128 + signum)


class AskedToStop(BaseException):
    """Raised out of an evaluation, which may be given up; the loop writes its checkpoint and leaves."""


class StopRequest:
    """`signum` is set once a signal has come. Inside `breakable` the signal raises AskedToStop there and then."""

    def __init__(self) -> None:
        self.signum: int | None = None
        self._breakable = False

    def handle(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            raise KeyboardInterrupt
        self.signum = signum
        if self._breakable:
            raise AskedToStop

    @contextlib.contextmanager
    def breakable(self, allowed: bool = True) -> Iterator[None]:
        """Let a signal end at once what is inside. allowed: False with several processes, where all have to take part
        in what follows.
        """
        self._breakable = allowed
        try:
            if allowed and self.signum is not None:
                raise AskedToStop
            yield
        finally:
            self._breakable = False


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Listen inside; restore the former handlers at the end. Outside the main thread python cannot listen: a no-op."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block signals inside. Loader workers that start inside never see Ctrl-C or SIGTERM, which often go to a whole
    process group: the main process alone decides, and ends them in its own way.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
