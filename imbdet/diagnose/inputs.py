"""What a diagnosis is made of: a folder, annotation files, or a config -> one Records a split.

Notable: a split without pictures is read all the same, since most numbers need none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import instantiate
from ..data.datasets.coco import load_coco, read_class_names
from ..data.datasets.folder import coco_folder, detect_format, folder_records
from ..data.datasets.layout import SPLIT_NAMES, checked_root, find_annotations
from ..data.records import Records

SPLITS = tuple(names[0] for names in SPLIT_NAMES)  #: train, val, test

Splits = dict[str, Records]


def as_splits(records: Any) -> Splits:
    """Records, {split: Records}, a path, or a list of paths -> the splits, training first.

    Raises:
        ValueError: none of these, no split at all, or splits with different classes. FileNotFoundError: no such file.
    """
    if isinstance(records, Records):
        return {records.name or "train": records}
    if isinstance(records, (str, os.PathLike)):
        return read_paths([os.fspath(records)])
    if isinstance(records, Sequence):
        return read_paths([os.fspath(path) for path in records])
    if not isinstance(records, Mapping) or not all(isinstance(part, Records) for part in records.values()):
        raise ValueError(
            "diagnose takes Records, a dict of Records by split, or the path of a data set; got "
            f"{type(records).__name__}"
        )
    if not records:
        raise ValueError("diagnose needs at least one split; the dict of Records is empty")
    return same_classes({str(name): part for name, part in records.items()})


def same_classes(splits: Splits) -> Splits:
    """The splits, if their classes are the same in the same order. Raises ValueError otherwise."""
    (first, reference), *others = splits.items()
    for name, part in others:
        if part.class_names != reference.class_names:
            odd = sorted(set(part.class_names) ^ set(reference.class_names))
            what = f"e.g. {odd[0]!r} is in one only" if odd else "their order differs"
            raise ValueError(f"splits {first!r} and {name!r} have different classes: {what}")
    return splits


def read_paths(paths: Sequence[str]) -> Splits:
    """All splits of a folder (COCO, Pascal VOC or YOLO), or of COCO files, of which the first gives the classes.

    Raises:
        FileNotFoundError: no such path, or no split in the folder. ValueError: a file that cannot be understood.
    """
    splits: Splits = {}
    for path in map(os.path.expanduser, paths):
        found = _folder(path) if os.path.isdir(path) else {split_of(path): _file(path, splits)}
        for name, part in found.items():
            while name in splits:
                name += "'"
            splits[name] = part
    return same_classes(splits)


def split_of(path: str) -> str:
    """The split that a file's name tells, else the name without its ending."""
    stem = Path(path).stem
    return next((names[0] for names in SPLIT_NAMES if any(name in stem.lower() for name in names)), stem)


def from_config(cfg: Any) -> Splits:
    """The splits that a config's `data` names; one that is another's again is left out.

    Raises:
        ValueError: the config has no data.
    """
    data = cfg.get("data") or {}
    splits: Splits = {}
    for name in SPLITS:
        if data.get(name) is None:
            continue
        part = instantiate(data[name])
        if not any(part.fingerprint() == other.fingerprint() for other in splits.values()):
            splits[name] = part
    if not splits:
        raise ValueError("the config has no data.train, data.val or data.test to diagnose")
    return same_classes(splits)


def describe(splits: Splits) -> dict[str, dict[str, Any]]:
    """`Diagnosis.splits`."""
    return {
        name: {
            "source": Path(part.source).name,
            "images": len(part),
            "boxes": int((~part.crowd).sum()),
            "empty_images": part.num_empty,
            "crowd": int(part.crowd.sum()),
            "classes": part.num_classes,
        }
        for name, part in splits.items()
    }


def _file(path: str, before: Splits) -> Records:
    classes = next(iter(before.values())).class_names if before else None
    return load_coco(path, classes=classes, name=split_of(path))


def _folder(root: str) -> Splits:
    splits: Splits = {}
    first: FileNotFoundError | None = None
    for name in SPLITS:
        try:
            splits[name] = _split(checked_root(root), name)
        except FileNotFoundError as error:
            first = first or error
    if not splits:
        raise first
    return splits


def _split(root: str, name: str) -> Records:
    if detect_format(root, name) != "coco":
        return folder_records(root, name)
    file, _ = find_annotations(root, name)
    try:
        return coco_folder(root, name)
    except FileNotFoundError:
        if file is None:
            raise
    train, _ = find_annotations(root, "train")  # the annotations are there, their pictures are not
    return load_coco(file, name=name, classes=read_class_names(train) if train else None)
