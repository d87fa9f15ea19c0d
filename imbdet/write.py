"""Write a file whole or not at all; `print_to` sends what is printed to one.

A file is written under a temporary name in its folder, flushed to the disk, then renamed: a name never holds half a
file, whatever is killed and whenever the disk fills up.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO


class WriteError(OSError):
    """A file could not be written; the message tells it all, so the number stays out of it."""

    def __str__(self) -> str:
        return self.strerror


def write_whole(
    path: str | os.PathLike,
    content: str | bytes | Callable[[BinaryIO], Any],
    consequence: str = "",
    former: Path | None = None,
) -> Path:
    """Write `content` to `path` and return the path. The folder is made if it is missing.

    Args:
        content: text (UTF-8, line ends as they are), bytes, or a function that writes to the open binary file.
        consequence: what is still good when the write fails; by default what became of `path`.
        former: keep what was at `path` under this name.

    Raises:
        WriteError: with the path, the reason and the free space; what was at `path` before is still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if not consequence:
        consequence = f"The {path.name} of before is untouched." if path.exists() else "Nothing was written."
    try:
        with writing(path, consequence):
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            if former is not None and path.exists():
                os.replace(path, former)  # killed between the two renames, `former` is there
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # below a file, say; the first error is the one to tell
            temporary.unlink()
    sync_folder(path.parent)
    return path


def write_json(path: str | os.PathLike, value: Any, consequence: str = "") -> Path:
    """Write `value` as JSON, numbers at full precision; what JSON does not know becomes text. Raises as
    `write_whole`.
    """
    return write_whole(path, json.dumps(value, indent=2, default=str) + "\n", consequence)


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


def sync_folder(folder: Path) -> None:
    """Flush the folder's entries, so that a rename survives a power cut (not possible, nor needed, on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def print_to(log: str | Path) -> None:
    """Send all that this process and its children print to the end of a file, line by line."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
