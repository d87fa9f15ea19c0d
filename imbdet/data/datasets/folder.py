"""A folder in, records out, whatever the layout."""

from __future__ import annotations

import os

from imbdet.data.datasets.coco import load_coco, read_class_names
from imbdet.data.datasets.layout import (
    checked_root,
    find_annotations,
    image_folder_candidates,
    split_names,
)
from imbdet.data.datasets.voc import voc_folder
from imbdet.data.datasets.yolo import yolo_folder
from imbdet.data.datasets.yolo_layout import describe
from imbdet.data.records import Records


def coco_folder(root: str, split: str = "train", keep_empty: bool = True, classes=None, name: str = "") -> Records:
    """Return one split of a folder in COCO format; where the annotations and pictures lie in it is found out.

    Known layouts, among others: `instances_train.json` or `annotations/instances_train.json` (also with a year:
    train2017), with pictures in `images/train`, `train` or `images`; Roboflow's `train/_annotations.coco.json` with the
    pictures beside it; else the one JSON file with the split in its name (`annotations/custom_train.json`). The
    validation split may be called val, valid or validation.

    Args:
        root: the folder.
        split: "train", "val", "test", or a name as in the files ("train2017").
        keep_empty: keep images without objects.
        classes: names in the order that labels shall count in. Default: those of the folder's training split, so that
            train and val agree even where the ids in their files do not; its own where there is no training split.
        name: what reports call this split; default: `split`.

    Raises:
        FileNotFoundError: no such folder, split or pictures; everything that was looked for is listed. A missing test
            split is an error too: nothing else is evaluated in its place.
        ValueError: `root` is not given, or an annotation file is wrong (see `load_coco`).
    """
    root = checked_root(root)
    annotations, looked_for = find_annotations(root, split)
    if annotations is None:
        raise FileNotFoundError(_missing_split(root, split, looked_for))
    if classes is None and "train" not in split_names(split) and not split.startswith("train"):
        train, _ = find_annotations(root, "train")
        classes = read_class_names(train) if train else None
    candidates = image_folder_candidates(root, annotations, split)
    return load_coco(annotations, candidates, keep_empty=keep_empty, name=name or split, classes=classes)


def folder_records(root: str, split: str = "train", format: str = "auto", **options) -> Records:
    """Return one split of a folder in COCO, Pascal VOC or YOLO format.

    Args:
        root: the folder.
        split: "train", "val", "test", or a name as in the files.
        format: "coco", "voc", "yolo", or "auto" to find out.
        options: passed to `coco_folder`, `voc_folder` or `yolo_folder`.

    Raises:
        ValueError, FileNotFoundError: as of these; the format is unknown.
    """
    readers = {"coco": coco_folder, "voc": voc_folder, "yolo": yolo_folder}
    if format == "auto":
        format = detect_format(checked_root(root), split)
    if format not in readers:
        raise ValueError(f"format={format!r}: expected one of auto, {', '.join(readers)}")
    return readers[format](root, split, **options)


def detect_format(root: str, split: str = "train") -> str:
    """Return "coco", "voc" or "yolo"; "coco" where nothing is recognized, whose error lists what was looked for."""
    if find_annotations(root, split, by_part=False)[0]:
        return "coco"
    folders = [root, *(os.path.join(root, name) for name in split_names(split))]
    if os.path.isdir(os.path.join(root, "Annotations")) or any(_has_file(folder, ".xml") for folder in folders):
        return "voc"
    if describe(root).file:
        return "yolo"
    if any(os.path.isdir(os.path.join(folder, "labels")) for folder in folders):
        return "yolo"
    return "coco"


def _has_file(folder: str, suffix: str) -> bool:
    return os.path.isdir(folder) and any(name.endswith(suffix) for name in os.listdir(folder))


def _missing_split(root: str, split: str, looked_for: list[str]) -> str:
    present = sorted(
        os.path.relpath(os.path.join(folder, name), root)
        for folder in (root, os.path.join(root, "annotations"))
        if os.path.isdir(folder)
        for name in os.listdir(folder)
        if name.endswith(".json") or os.path.isdir(os.path.join(folder, name))
    )
    there = ", ".join(present[:12]) + (" ..." if len(present) > 12 else "") or "no JSON file and no folder"
    names = " or ".join(split_names(split))
    return (
        f"{root}: no annotations of split {split!r}. Looked for {', '.join(looked_for)}, with {{split}} = {names}. "
        f"There is: {there}. Another split is never taken in its place: name one that is there (split=...). "
        "folder_records reads Pascal VOC and YOLO folders"
    )
