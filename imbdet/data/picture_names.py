"""Picture files whose name in the annotations was written elsewhere: found by the last part of the name.

Annotation tools write names with folders of their own machine ("C:\\work\\a.jpg", "/data/upload/4/a.jpg"), as URLs, or
in another Unicode form than the file system's. Such a name stands for the one file of the folder that is called as its
last part says; where several files or several names share that part, nothing is guessed.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from urllib.parse import unquote

_DEPTH = 3  # folders below the folder of pictures that are looked into
_MOST = 300_000  # files that are listed at most


class PictureFinder:
    """Finds pictures of one folder by the last part of their names.

    Args:
        root: the folder.
        names: all names in the annotations, by which a last part is known to be unique.
    """

    def __init__(self, root: str, names: Iterable[str]):
        self._files = defaultdict(list)
        for path in _files_below(root):
            self._files[_last_part(path)].append(path)
        self._shared = Counter(_last_part(name) for name in names)

    def find(self, name: str) -> tuple[str, str]:
        """Return the file, relative to the folder, "" if none is found; and why not, in words."""
        last = _last_part(name)
        for part in dict.fromkeys((last, unquote(last.split("?")[0]), re.sub(r"^[0-9a-f]{8}-", "", last))):
            found = self._files.get(part, [])
            if len(found) > 1:
                longest = max(_common(name, path) for path in found)
                found = [path for path in found if _common(name, path) == longest]
            if len(found) == 1 and self._shared[last] == 1:
                return found[0], ""
            if len(found) > 1:
                return "", f"{len(found)} files have this name: {', '.join(sorted(found)[:3])}"
            if found:
                return (
                    "",
                    f"{found[0]} is there, but {self._shared[last]} images of the file have names that end in {part!r}",
                )
        return "", ""


def leads_outside(folder: str, name: str) -> bool:
    """Return whether a file name, by its words alone, is not in the folder: an absolute path elsewhere, or too many
    `..`.

    Symbolic links in the folder are followed, wherever they lead: who made the folder made them.
    """
    if not (os.path.isabs(name) or ".." in name):
        return False
    root = os.path.abspath(folder)
    return os.path.commonpath([root, os.path.abspath(os.path.join(root, name))]) != root


def exists(path: str) -> bool:
    """Return whether there is a file, folder or device; False for a name that no file can have."""
    try:
        return os.path.exists(path)
    except ValueError:  # a null character
        return False


def _last_part(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").rsplit("/", 1)[-1])


def _common(name: str, path: str) -> int:
    """How many parts, from the end, two names share."""
    parts = [unicodedata.normalize("NFC", text.replace("\\", "/")).split("/")[::-1] for text in (name, path)]
    return next((i for i, (a, b) in enumerate(zip(*parts, strict=False)) if a != b), min(map(len, parts)))


def _files_below(root: str) -> Iterable[str]:
    count = 0
    for folder, subfolders, names in os.walk(root):
        inner = os.path.relpath(folder, root)
        inner = "" if inner == "." else inner
        if inner.count(os.sep) >= _DEPTH - 1 and inner:
            subfolders.clear()
        for name in names:
            yield os.path.join(inner, name)
        count += len(names)
        if count > _MOST:
            return
