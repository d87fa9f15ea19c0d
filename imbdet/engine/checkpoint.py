"""Checkpoints that survive a kill, a full disk and a truncated copy.

    last.pth        all state at the last save       last_prev.pth   the save before
    best.pth        weights of the best evaluation   model_NNNNNNN.pth   the newest `max_to_keep` periodic saves

A file is written under a temporary name, flushed to the disk, then renamed, so a name never holds half a file. torch's
format is a zip with a checksum per tensor: a damaged file is found before anything is loaded, and `last_prev.pth`
stands in with a warning. Everything is tensors and plain python values, so that all files load with
`weights_only=True`, which runs no code.
"""

import os
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..runs import BEST, LAST, NAMED, PREVIOUS
from ..write import write_whole, writing


def save_file(state: dict[str, Any], path: Path, former: Path | None = None) -> None:
    """Write `state` to `path`, whole or not at all; what was at `path` is kept as `former` if that is given.

    Raises OSError, and then what was at `path` is still there.
    """
    write_whole(path, lambda file: torch.save(state, file), former=former)


def damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint file, by its checksums; None if nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            return None if broken is None else f"the checksum of {broken} does not match"
    except OSError:
        raise
    except Exception as error:  # BadZipFile, and what zipfile meets on the way: bad names, sizes, methods, passwords
        return f"{path.stat().st_size} bytes that are not a complete checkpoint ({error})"


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
        """Return `state` (with "iteration") becomes last.pth, the former last.pth last_prev.pth. named: also under its
        own name.
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
        """Return the newest state that is whole, on the CPU; None if the folder has none. Warns when it is not
        last.pth.

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
        for old in sorted(self.folder.glob(NAMED))[: -self.max_to_keep]:
            old.unlink()
