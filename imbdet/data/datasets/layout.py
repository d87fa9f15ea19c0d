"""Where the parts of a data set lie: the layouts that COCO, Roboflow, CVAT, FiftyOne and people make.

Notable: nothing is guessed from names alone. A folder of pictures is taken because pictures of the annotation file are
in it, and the error lists every place that was looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

SPLIT_NAMES = (
    ("train", "training"),
    ("val", "valid", "validation"),
    ("test", "testing"),
)
_TRIED = 12  # file names that are looked for in a folder before it is taken for the folder of pictures


def split_names(split: str) -> tuple[str, ...]:
    """What this split may be called, the given name first: "val" -> ("val", "valid", "validation")."""
    for names in SPLIT_NAMES:
        if split in names:
            return (split, *(name for name in names if name != split))
    return (split,)


def checked_root(root: str | None) -> str:
    """The folder of a data set.

    Raises:
        ValueError: none was given, or it is a file.
        FileNotFoundError: there is no such folder.
    """
    if root in (None, "", "???"):
        raise ValueError(
            "no data set was given: set data.root=DIR on the command line, a folder in COCO format, e.g. with "
            "DIR/annotations/instances_train.json and pictures in DIR/images/train"
        )
    path = os.path.expanduser(os.fspath(root))
    if os.path.isfile(path):
        raise ValueError(f"{path}: is a file; data.root=DIR takes the folder that the data set lies in")
    if not os.path.isdir(path):
        raise FileNotFoundError(f"{path}: no such folder (looked at {os.path.abspath(path)}); set data.root=DIR")
    return path


def find_annotations(root: str, split: str) -> tuple[str | None, list[str]]:
    """The COCO JSON file of a split.

    Returns:
        The path, or None; and the patterns that were looked for, relative to `root`, with {split} for its names.

    Raises:
        ValueError: several files of one kind, e.g. instances_train2014.json and instances_train2017.json.
    """
    looked_for = _patterns("{split}")
    for name in split_names(split):
        for pattern in _patterns(name):
            found = _matches(root, pattern)
            if len(found) > 1:
                years = ", ".join(sorted(os.path.basename(path) for path in found))
                raise ValueError(f"{root}: several files for split {split!r}: {years}. Name one, e.g. split=train2017")
            if found:
                return found[0], looked_for
    return None, looked_for


def find_image_folder(names: Sequence[str], candidates: Sequence[str]) -> str | None:
    """The first of the folders that has most of the pictures, judged by a dozen of them; None: no picture is in any."""
    step = max(len(names) // _TRIED, 1)
    tried = list(dict.fromkeys([*names[:3], *names[::step][:_TRIED]]))
    best, best_hits = None, 0
    for folder in dict.fromkeys(candidates):
        hits = sum(os.path.isfile(os.path.join(folder, name)) for name in tried)
        if hits > best_hits:
            best, best_hits = folder, hits
    return best


def image_folder_candidates(root: str, annotations: str, split: str = "") -> list[str]:
    """Where the pictures of an annotation file may lie."""
    stem = os.path.splitext(os.path.basename(annotations))[0]
    tag = re.sub(r"^instances_", "", stem)  # instances_train2017 -> train2017
    known = split or re.sub(r"\d{4}$", "", tag)
    tags = list(dict.fromkeys([tag, split, *split_names(known)]))
    beside = os.path.dirname(annotations) or "."
    folders = []
    for name in filter(None, tags):
        folders += [f"{root}/images/{name}", f"{root}/{name}", f"{root}/{name}/images", f"{root}/{name}/data"]
    folders += [f"{root}/images", f"{root}/data", f"{root}/JPEGImages", beside, f"{beside}/images", root]
    return list(dict.fromkeys(os.path.normpath(folder) for folder in folders))


def guess_image_folder(annotations: str, names: Sequence[str]) -> str:
    """The folder around an annotation file that has its pictures; the file's own folder where none is found.

    The latter is no error here: evaluating results needs no picture, and a missing one is named when it is read.
    """
    beside = os.path.dirname(os.path.abspath(annotations))
    roots = [beside, os.path.dirname(beside)]
    candidates = [folder for root in roots for folder in image_folder_candidates(root, annotations)]
    return find_image_folder(names, candidates) or beside


def _patterns(name: str) -> list[str]:
    return [
        f"instances_{name}.json",
        f"annotations/instances_{name}.json",
        f"instances_{name}[year].json",
        f"annotations/instances_{name}[year].json",
        f"{name}/_annotations.coco.json",
        f"{name}.json",
        f"annotations/{name}.json",
        f"{name}/annotations.json",
        f"{name}/labels.json",
        f"{name}/instances_{name}.json",
    ]


def _matches(root: str, pattern: str) -> list[str]:
    if "[year]" not in pattern:
        path = os.path.join(root, pattern)
        return [path] if os.path.isfile(path) else []
    folder, name = os.path.split(os.path.join(root, pattern))
    expression = re.compile(re.escape(name).replace(re.escape("[year]"), r"\d{4}"))
    if not os.path.isdir(folder):
        return []
    return [os.path.join(folder, file) for file in sorted(os.listdir(folder)) if expression.fullmatch(file)]
