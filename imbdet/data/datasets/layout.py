"""Where the parts of a data set lie: the layouts that COCO, Roboflow, CVAT, FiftyOne and people make.

Notable: nothing is guessed from names alone. A folder of pictures is taken because pictures of the annotation file are
in it, and the error lists every place that was looked at.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Sequence

from imbdet.data.picture_names import PictureFinder

SPLIT_NAMES = (
    ("train", "training"),
    ("val", "valid", "validation"),
    ("test", "testing"),
)
_TRIED = 12  # file names that are looked for in a folder before it is taken for the folder of pictures


def split_names(split: str) -> tuple[str, ...]:
    """Return the names that a split may have, the given one first: "val" -> ("val", "valid", "validation")."""
    for names in SPLIT_NAMES:
        if split in names:
            return (split, *(name for name in names if name != split))
    return (split,)


def checked_root(root: str | None) -> str:
    """Return the folder of a data set.

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


def find_annotations(root: str, split: str, by_part: bool = True) -> tuple[str | None, list[str]]:
    """Return the COCO JSON file of a split.

    by_part: where no file has one of the known names, take the one whose name has the split's name as a part of it
        (`annotations/custom_train.json`).

    Returns:
        The path, or None; and the patterns that were looked for, relative to `root`, with {split} for its names.

    Raises:
        ValueError: several files of one kind, e.g. instances_train2014.json and instances_train2017.json.
    """
    looked_for = [*_patterns("{split}"), "annotations/*{split}*.json"]
    for name in split_names(split):
        for pattern in _patterns(name):
            found = _matches(root, pattern)
            if len(found) > 1:
                years = ", ".join(sorted(os.path.basename(path) for path in found))
                raise ValueError(f"{root}: several files for split {split!r}: {years}. Name one, e.g. split=train2017")
            if found:
                return found[0], looked_for
    found = _named_by_part(root, split) if by_part else []
    if len(found) > 1:
        names = ", ".join(os.path.relpath(path, root) for path in found)
        raise ValueError(
            f"{root}: several files may be the annotations of split {split!r}: {names}. Rename the right one to "
            f"annotations/instances_{split}.json, or move the others away"
        )
    return (found[0] if found else None), looked_for


def has_part(name: str, split: str) -> bool:
    """Return whether a name has that of the split as a word of it, whatever its case: custom_train.json, Train2017."""
    words = "|".join(map(re.escape, split_names(split)))
    return re.search(rf"(?<![a-z])({words})(?![a-z])", name.lower()) is not None


def _named_by_part(root: str, split: str) -> list[str]:
    """JSON files in `root`, `annotations` and the split's folders, by their names; those of COCO if any is."""
    folders = [root, os.path.join(root, "annotations"), *(os.path.join(root, name) for name in split_names(split))]
    paths = [os.path.join(f, name) for f in folders if os.path.isdir(f) for name in sorted(os.listdir(f))]
    paths = [path for path in paths if path.lower().endswith(".json") and os.path.isfile(path)]
    others = [names[0] for names in SPLIT_NAMES if split not in names]
    paths = [path for path in paths if has_part(os.path.relpath(path, root), split)]
    alone = [path for path in paths if not any(has_part(os.path.basename(path), other) for other in others)]
    return [path for path in alone or paths if _is_coco(path)] or alone or paths


def _is_coco(path: str) -> bool:
    """Whether the three keys of COCO ground truth stand in the file (captions and image lists have no categories)."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return all(data.find(key) >= 0 for key in (b'"images"', b'"annotations"', b'"categories"'))
    except (OSError, ValueError):
        return False


def find_image_folder(names: Sequence[str], candidates: Sequence[str], exact: Sequence[str] = ()) -> str | None:
    """Return the first of the folders that has most of the pictures, judged by a dozen of them; None: no picture is in
    any.

    Where no folder has any under its whole name, they are looked for by the last part of it (see `picture_names`), but
    not in the folders `exact`, around which there may be anything.
    """
    step = max(len(names) // _TRIED, 1)
    tried = list(dict.fromkeys([*names[:3], *names[::step][:_TRIED]]))
    best, best_hits = None, 0
    for folder in dict.fromkeys(candidates):
        hits = sum(_is_file(os.path.join(folder, name)) for name in tried)
        if hits > best_hits:
            best, best_hits = folder, hits
    if best is not None:
        return best
    for folder in filter(os.path.isdir, dict.fromkeys(candidates)):
        if folder in exact:
            continue
        finder = PictureFinder(folder, names)
        hits = sum(bool(finder.find(name)[0]) for name in tried)
        if hits > best_hits:
            best, best_hits = folder, hits
    return best


def _is_file(path: str) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:  # a null character
        return False


def image_folder_candidates(root: str, annotations: str, split: str = "") -> list[str]:
    """Return where the pictures of an annotation file may lie."""
    stem = os.path.splitext(os.path.basename(annotations))[0]
    tag = re.sub(r"^instances_", "", stem)  # instances_train2017 -> train2017
    known = split or re.sub(r"\d{4}$", "", tag)
    tags = list(dict.fromkeys([tag, split, *split_names(known)]))
    beside = os.path.dirname(annotations) or "."
    folders = []
    for name in filter(None, tags):
        folders += [f"{root}/images/{name}", f"{root}/{name}", f"{root}/{name}/images", f"{root}/{name}/data"]
    for parent in filter(os.path.isdir, (f"{root}/images", root)):  # train2017 beside custom_train.json
        found = [name for name in sorted(os.listdir(parent)) if has_part(name, split or known)]
        folders += [f"{parent}/{name}" for name in found if os.path.isdir(f"{parent}/{name}")]
    folders += [f"{root}/images", f"{root}/data", f"{root}/JPEGImages", beside, f"{beside}/images", root]
    return list(dict.fromkeys(os.path.normpath(folder) for folder in folders))


def guess_image_folder(annotations: str, names: Sequence[str]) -> str:
    """Return the folder around an annotation file that has its pictures; the file's own folder where none is found.

    The latter is no error here: evaluating results needs no picture, and a missing one is named when it is read.
    """
    beside = os.path.dirname(os.path.abspath(annotations))
    roots = [beside, os.path.dirname(beside)]
    candidates = [folder for root in roots for folder in image_folder_candidates(root, annotations)]
    return find_image_folder(names, candidates, roots) or beside


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
