"""Checkpoints that survive a kill, a full disk and a truncated copy.

    last.pth        all state at the last save       last_prev.pth   the save before
    best.pth        weights of the best evaluation   model_NNNNNNN.pth   the newest `max_to_keep` periodic saves

A file is written under a temporary name, flushed to the disk, then renamed, so a name never holds half a file. torch's
format is a zip with a checksum per tensor: a damaged file is found before anything is loaded, and `last_prev.pth`
stands in with a warning. Everything is tensors and plain python values, so that all files load with
`weights_only=True`, which runs no code.
"""

import contextlib
import os
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

LAST, PREVIOUS, BEST = "last.pth", "last_prev.pth", "best.pth"


class WriteError(OSError):
    """A file could not be written; the message tells it all, so the number stays out of it."""

    def __str__(self) -> str:
        return self.strerror


@contextlib.contextmanager
def writing(path: Path, consequence: str) -> Iterator[None]:
    """Turn a failed write of `path` inside into a WriteError that says which file, why, and what is still good."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error
        while not isinstance(cause, OSError) and cause.__context__ is not None:
            cause = cause.__context__  # torch's zip writer trips over the end of a file that the disk has refused
        if not isinstance(cause, OSError) and "inline_container" not in str(error):
            raise
        reason = getattr(cause, "strerror", None) or str(cause).splitlines()[0]
        try:
            free = f"{shutil.disk_usage(path.parent).free / 2**20:.0f} MiB free there"
        except OSError:
            free = "the folder cannot be read"
        raise WriteError(
            getattr(cause, "errno", None) or 0, f"cannot write {path}: {reason} ({free}). {consequence}"
        ) from error


def save_file(state: dict[str, Any], path: Path, former: Path | None = None) -> None:
    """Write `state` to `path`, whole or not at all; what was at `path` is kept as `former` if that is given.

    Raises OSError, and then what was at `path` is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    kept = f"The {path.name} of before is untouched." if path.exists() else "Nothing was written."
    try:
        with writing(path, kept):
            with open(temporary, "wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            if former is not None and path.exists():
                os.replace(path, former)  # killed between the two renames, `former` is there and `load` takes it
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the folder's entries, so that a rename survives a power cut (not possible, nor needed, on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint file, by its checksums; None if nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            return None if broken is None else f"the checksum of {broken} does not match"
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        return f"{path.stat().st_size} bytes that are no complete checkpoint ({error})"


def load_file(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint written by `save_file`. Raises FileNotFoundError, or ValueError for a damaged file or one of
    another kind.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.pth")) if path.parent.is_dir() else []
        hint = f"; there is {', '.join(near)} in that folder" if near else ""
        raise FileNotFoundError(f"no checkpoint at {path}{hint}")
    found = damage(path)
    if found:
        raise ValueError(f"{path} is damaged: {found}")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # pickle.UnpicklingError and many kinds besides
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} is not a checkpoint that loads safely (weights_only=True): {reason}") from error
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds a {type(state).__name__}, not a dict with a 'model' entry")
    return state


class Checkpoints:
    """The checkpoint files of one run folder. max_to_keep: periodic saves that keep a name of their own (0: none)."""

    def __init__(self, folder: str | Path, max_to_keep: int = 0):
        self.folder, self.max_to_keep = Path(folder), max_to_keep

    def save(self, state: dict[str, Any], named: bool = False) -> Path:
        """`state` (with "iteration") becomes last.pth, the former last.pth last_prev.pth. named: also under its own
        name.
        """
        last = self.folder / LAST
        save_file(state, last, former=self.folder / PREVIOUS)
        if named and self.max_to_keep > 0:
            self._keep(last, state["iteration"])
        return last

    def save_best(self, state: dict[str, Any]) -> Path:
        save_file(state, self.folder / BEST)
        return self.folder / BEST

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole, on the CPU; None if the folder has none. Warns when it is not last.pth.

        Raises ValueError if there are files but none of them is whole.
        """
        problems = []
        for name in (LAST, PREVIOUS):
            path = self.folder / name
            try:
                state = load_file(path)
            except FileNotFoundError:
                continue
            except ValueError as error:
                problems.append(str(error))
                continue
            if problems or name == PREVIOUS:
                why = problems[0] if problems else f"{self.folder / LAST} is missing"
                warnings.warn(f"{why}; continuing from {name}, iteration {state['iteration']}", stacklevel=2)
            return state
        if problems:
            raise ValueError("no checkpoint to continue from: " + "; ".join(problems))
        return None

    def _keep(self, last: Path, iteration: int) -> None:
        named = self.folder / f"model_{iteration:07d}.pth"
        named.unlink(missing_ok=True)
        try:
            os.link(last, named)  # a second name for the same bytes: no time, no space
        except OSError:
            with writing(named, f"{LAST} is complete."):
                shutil.copyfile(last, named)
        for old in sorted(self.folder.glob("model_*.pth"))[: -self.max_to_keep]:
            old.unlink()
