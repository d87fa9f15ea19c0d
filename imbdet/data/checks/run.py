"""All checks of one or more annotation files or folders in one run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imbdet.data.checks.annotations import check_annotations, parse_loosely, whole
from imbdet.data.checks.findings import Findings
from imbdet.data.checks.pictures import (
    PictureSet,
    inspect_pictures,
    pictures_of,
    report_pictures,
    report_shared_pictures,
)
from imbdet.data.checks.splits import compare_classes
from imbdet.data.datasets.coco import collector_off
from imbdet.data.datasets.folder import detect_format
from imbdet.data.datasets.imported import Imported
from imbdet.data.datasets.layout import find_annotations, find_image_folder, image_folder_candidates
from imbdet.data.datasets.voc import read_voc
from imbdet.data.datasets.yolo import read_yolo


@dataclass
class Split:
    """One split that is checked: where it came from, its content (None: unreadable), the folder of its pictures."""

    file: str
    coco: dict | None
    folder: str | None
    pictures: PictureSet | None = None


def open_splits(paths: Sequence[str], images: str | None, findings: Findings) -> list[Split]:
    """The splits in these annotation files and folders, the training split first where names tell.

    Args:
        paths: COCO JSON files, or folders in COCO, Pascal VOC or YOLO format.
        images: the folder of the pictures, or of the splits' folders of pictures; None looks for them.

    Raises:
        FileNotFoundError: a path that is not there, or a folder without any known split.
    """
    splits = []
    for path in map(os.path.expanduser, paths):
        if os.path.isdir(path):
            splits += _open_folder(path, images, findings)
        elif os.path.exists(path):
            splits.append(_open_file(path, images, findings))
        else:
            raise FileNotFoundError(f"{path}: no such file or folder")
    return splits


def check_splits_fully(
    splits: list[Split],
    findings: Findings,
    decode: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """All checks of the splits and between them; the first is taken for the training split.

    Args:
        splits: as of `open_splits`; what is found about their pictures is kept in them, for the repair.
        findings: what is found is added here.
        decode: read every picture to its end; False: headers only.
        progress: called with (done, all) after each picture.
    """
    readable = [split for split in splits if split.coco is not None]
    with collector_off():
        for split in readable:
            check_annotations(split.coco, split.file, findings)
        _compare_all_classes(readable, findings)
    for split in readable:
        if split.folder is None:
            value = "none of the pictures was found around the file"
            findings.add("pictures_not_checked", split.file, value)
        else:
            split.pictures = pictures_of(split.coco, split.file, split.folder)
    looked_at = [split for split in readable if split.pictures is not None]
    sets = [split.pictures for split in looked_at]
    inspect_pictures(sets, decode, progress)
    for split in looked_at:
        report_pictures(split.pictures, split.coco, findings)
    report_shared_pictures(sets, findings)


def _open_file(path: str, images: str | None, findings: Findings) -> Split:
    with collector_off():
        coco = parse_loosely(path, findings)
    if coco is None:
        return Split(path, None, None)
    names = list(pictures_of(coco, path, "").pictures)
    if images is not None:
        candidates = [images, *image_folder_candidates(images, path), *_subfolders(images)]
        return Split(path, coco, find_image_folder(names, candidates) or images)
    beside = os.path.dirname(os.path.abspath(path))
    candidates = [*image_folder_candidates(beside, path), *image_folder_candidates(os.path.dirname(beside), path)]
    return Split(path, coco, find_image_folder(names, candidates))


def _subfolders(root: str) -> list[str]:
    """Folders in `root` and in `root/images`: for a file whose name does not tell its split."""
    parents = [folder for folder in (root, os.path.join(root, "images")) if os.path.isdir(folder)]
    return [os.path.join(parent, name) for parent in parents for name in sorted(os.listdir(parent))]


def _open_folder(root: str, images: str | None, findings: Findings) -> list[Split]:
    splits, errors = [], []
    for name in ("train", "val", "test"):
        format = detect_format(root, name)
        if format == "coco":
            file, _ = find_annotations(root, name)
            if file:
                splits.append(_open_file(file, images or root, findings))
            continue
        try:
            imported = {"voc": read_voc, "yolo": read_yolo}[format](root, name)
        except FileNotFoundError as error:
            errors.append(str(error))
            continue
        splits.append(_from_imported(imported, findings))
    if not splits:
        raise FileNotFoundError(
            errors[0]
            if errors
            else f"{root}: no annotations of a train, val or test split in COCO, Pascal VOC or YOLO format; name the "
            "annotation files themselves"
        )
    return splits


def _from_imported(imported: Imported, findings: Findings) -> Split:
    for problem in imported.problems:
        findings.add("label_file", imported.source, problem)
    return Split(imported.source, imported.coco, imported.folder)


def _compare_all_classes(splits: list[Split], findings: Findings) -> None:
    classes = [_classes(split.coco) for split in splits]
    for split, (ids, boxes) in zip(splits[1:], classes[1:], strict=True):
        compare_classes(classes[0][0], ids, boxes, split.file, findings)


def _classes(coco: dict) -> tuple[dict[str, int], dict[str, int]]:
    """({name: id}, {name: boxes}) of a file as plain objects."""
    parts = {key: [e for e in coco.get(key) or [] if isinstance(e, dict)] for key in ("categories", "annotations")}
    ids = {c["name"]: whole(c.get("id")) for c in parts["categories"] if isinstance(c.get("name"), str)}
    boxes = Counter(whole(annotation.get("category_id")) for annotation in parts["annotations"])
    return ids, {name: boxes[category_id] for name, category_id in ids.items()}
