"""Run one step of an input in this process, and judge it."""

import contextlib
import io
import os
import signal
import sys
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from imbdet.commands import run
from imbdet.mistakes import is_users_mistake

#: exit codes that each verb documents; the others have 0 and 2
CODES = {"check_data": (0, 1, 2), "predict": (0, 1, 2), "compare": (0, 1, 2)}
DEVICES = ("/dev/null", "/dev/urandom")
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn", "os.startfile")
FORBIDDEN += ("subprocess.Popen", "socket.connect", "socket.getaddrinfo", "os.kill", "code.__new__")
OF_WORKERS = ("os.fork", "socket.connect")  #: what a loader with workers does, and only it may
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "shutil.rmtree", "os.truncate")
LONGEST = 20_000  #: characters of an error: one line, below which a list of what was found may stand
SECRET = "secret.png"


class TooLong(BaseException):
    """A step ran past its time."""


@dataclass
class Step:
    """argv of the command line, or a function; agrees: it must succeed where the step before had the exit code 0."""

    argv: list = field(default_factory=list)
    function: object = None
    agrees: bool = False
    seconds: float = 60.0


class _Watch:
    """What happens in this process while an input runs. An audit hook cannot be taken away, so there is one."""

    def __init__(self):
        self.folder, self.seen, self.installed = None, [], False

    def begin(self, folder):
        if not self.installed:
            sys.addaudithook(self._hear)
            self.installed = True
        self.folder, self.seen = os.path.realpath(folder), []

    def end(self):
        self.folder = None
        return list(dict.fromkeys(self.seen))

    def _hear(self, event, arguments):
        if self.folder is None:
            return
        if event in FORBIDDEN and not (event in OF_WORKERS and _is_loading()):
            self.seen.append(f"{event} {str(arguments)[:200]}")
        elif event == "open":
            self._opened(*arguments)
        elif event in CHANGES and isinstance(arguments[0], (str, os.PathLike)) and not self._inside(arguments[0]):
            self.seen.append(f"{event} {arguments[0]}")
        elif event == "exec" and self._inside(getattr(arguments[0], "co_filename", "<no file>"), False):
            self.seen.append(f"exec {arguments[0].co_filename}")

    def _opened(self, path, mode, flags):
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        name = os.fsdecode(path)
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if isinstance(flags, int) else False
        if (name.startswith("/dev/") and name not in DEVICES) or os.path.basename(name) == SECRET:
            self.seen.append(f"open {name}")
        elif writes and name not in DEVICES and not self._inside(name):
            self.seen.append(f"write {name}")

    def _inside(self, path, relative=True):
        path = os.fsdecode(path)
        if not relative and not os.path.isabs(path):
            return False
        try:
            return os.path.realpath(path).startswith(self.folder)
        except ValueError:  # a NUL
            return True


def _is_loading():
    """Whether torch's loader is among the callers, which starts workers where an input sets their number."""
    frame = sys._getframe()
    while frame and not frame.f_code.co_filename.endswith("torch/utils/data/dataloader.py"):
        frame = frame.f_back
    return frame is not None


_watch = _Watch()


def run_input(steps, folder):
    """Run the steps in `folder`; what is wrong with them, as lines "kind: ..."; [] if nothing."""
    before, wrong, code = os.getcwd(), [], None
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a first import is no deed of the input
    os.chdir(folder)
    _watch.begin(folder)
    try:
        for step in steps:
            code, fault = _attempt(step, code)
            if fault:
                wrong.append(fault)
    finally:
        seen = _watch.end()
        os.chdir(before)
        sys.dont_write_bytecode = bytecode
    if Path(folder, "sentinel").exists():
        seen.append("the sentinel was written")
    return wrong + [f"executed: {line}" for line in seen]


def _attempt(step, former):
    """The exit code of a step and its fault, None if there is none. A function counts as the verb "load"."""
    verb = step.argv[0] if step.argv else step.function.__name__
    out, err, code = io.StringIO(), io.StringIO(), 0

    def alarm(signum, frame):
        raise TooLong(f"after {step.seconds:g} s")

    handler = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, step.seconds)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = run(verb, [str(word) for word in step.argv[1:]]) if step.argv else step.function() or 0
    except SystemExit as leaving:
        code = leaving.code
    except TooLong as error:
        return None, f"{verb}: too long: {_place(error)}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        if step.argv or not is_users_mistake(error):
            return None, f"{verb}: {type(error).__name__} at {_place(error)}: {str(error)[:200]!r}"
        code, said = 2, str(error)
        if step.agrees and former == 0:
            return code, f"{verb}: check_data passed what is refused here: {said[:300]!r} at {_place(error)}"
        return code, None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    return code, _told(verb, code, out.getvalue(), err.getvalue()) if step.argv else None


def _told(verb, code, out, err):
    if "Traceback (most recent" in out + err:
        return f"{verb}: a traceback is printed: {(out + err)[-300:]!r}"
    if code not in CODES.get(verb, (0, 2)):
        return f"{verb}: unexplained exit code {code!r}: {err[-200:]!r}"
    if code == 2:
        lines = [line for line in err.strip().splitlines() if line.startswith((f"imbdet {verb}: ", f"{verb}: "))]
        if not lines:
            return f"{verb}: exit code 2 without a message: {err[-200:]!r}"
        if len(err.strip()[err.strip().rindex(lines[-1]) :]) > LONGEST:
            return f"{verb}: an error of {len(err)} characters: {err.strip()[:300]!r}"
    if code == 1 and not (out + err).strip():
        return f"{verb}: exit code 1 without a word"
    return None


def _place(error):
    """file:line of the last frame of the package, else of the last frame."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}imbdet{os.sep}" in frame.filename] or list(frames)
    if not own:
        return "?"
    inner = Path(frames[-1].filename).name
    return f"{own[-1].filename.rpartition(f'{os.sep}imbdet{os.sep}')[2]}:{own[-1].lineno} ({inner})"
