"""The checks put together: of files and folders with their pictures, and the cheap part before every training."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imbdet.data.checks.findings import Finding, Findings
from imbdet.data.checks.pictures import PictureSet, inspect_pictures, pictures_of, shared_pictures
from imbdet.data.checks.rules import ERROR, RULES, compare_classes
from imbdet.data.checks.table import Columns, FileTable, RecordsTable
from imbdet.data.datasets.coco import collector_off, records_from_coco
from imbdet.data.datasets.coco_plain import parse_json, repeated_keys
from imbdet.data.datasets.folder import detect_format
from imbdet.data.datasets.imported import Imported
from imbdet.data.datasets.layout import find_annotations, find_image_folder, image_folder_candidates
from imbdet.data.datasets.voc import read_voc
from imbdet.data.datasets.yolo import read_yolo
from imbdet.data.records import Records

_log = logging.getLogger(__name__)


@dataclass
class Split:
    """One split that is checked: where it came from, its content (None: unreadable), the folder of its pictures."""

    file: str
    coco: dict | None
    folder: str | None
    pictures: PictureSet | None = None
    table: FileTable | None = None


def open_splits(paths: Sequence[str], images: str | None, findings: Findings) -> list[Split]:
    """Return the splits in these annotation files and folders, the training split first where names tell.

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
    """Run all checks of the splits and between them; the first is taken for the training split.

    Args:
        splits: as of `open_splits`; what is found about their pictures is kept in them, for the repair.
        findings: what is found is added here.
        decode: read every picture to its end; False: headers only.
        progress: called with (done, all) after each picture.
    """
    readable = [split for split in splits if split.coco is not None]
    for split in readable:
        if split.folder is not None:
            split.pictures = pictures_of(split.coco, split.file, split.folder)
        elif not findings.count("no_pictures", file=split.file):
            findings.add("pictures_not_checked", split.file, "none of them was found around the file")
    sets = [split.pictures for split in readable if split.pictures is not None]
    inspect_pictures(sets, decode, progress)
    with collector_off():
        for split in readable:
            check_file(split, findings)
        _compare_all_classes(readable, findings)
    for split, picture, value in shared_pictures(sets):
        findings.add("same_picture", split.file, value, image_id=picture.image_id)


def check_file(split: Split, findings: Findings) -> None:
    """Run every rule on one file; what the rules pass is read as training reads it."""
    before = findings.count(severity=ERROR, file=split.file)
    partial = bool(findings.count("label_file", file=split.file))
    split.table = FileTable(split.coco, split.file, split.pictures, partial=partial)
    apply_rules(split.table, findings)
    if findings.count(severity=ERROR, file=split.file) == before:
        try:
            records_from_coco(split.coco, split.file, split.folder or ".")
        except ValueError as error:
            findings.add("not_loadable", split.file, str(error))


def apply_rules(table: Columns, findings: Findings) -> None:
    """Add what the rules find in a table; of records the quick ones only."""
    for rule in RULES.values():
        if rule.find is not None and (rule.quick or isinstance(table, FileTable)):
            for hit in rule.find(table):
                if rule.once and findings.has(rule.code, hit.value.split(" (category id")[0]):
                    continue
                findings.add(
                    rule.code,
                    table.file,
                    hit.value,
                    image_id=hit.image_id,
                    annotation_id=hit.annotation_id,
                    place=hit.place,
                    right=hit.right,
                    fixable=hit.mend is not None,
                    droppable=rule.drops and hit.mend is None and hit.index >= 0 and not hit.keep,
                )


def read_file(path: str, findings: Findings) -> dict | None:
    """Return an annotation file as plain objects, or None with a finding."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        content, problem = parse_json(data, path)
    except OSError as error:
        findings.add("unreadable_file", path, f"{path}: {error.strerror}")
        return None
    except ValueError as error:
        findings.add("unreadable_file", path, str(error))
        return None
    if problem:
        findings.add("not_strict_json", path, problem)
    if not isinstance(content, dict):
        looks_like = " (a list is what a file of detection results holds)" if isinstance(content, list) else ""
        value, right = f"{type(content).__name__}{looks_like}", "{images, annotations, categories}"
        findings.add("wrong_type", path, value, place="$", right=right)
        return None
    _add_repeated_keys(path, data, findings)
    return content


def _add_repeated_keys(path: str, data: bytes, findings: Findings) -> None:
    for key, count in repeated_keys(data):
        findings.add("duplicate_key", path, f"{key!r}, {count} times")


def check_keys(records: Records) -> list[Finding]:
    """Report what reading a COCO file has passed over in silence: keys that stand twice in one object."""
    findings = Findings()
    if records.source.endswith(".json") and os.path.isfile(records.source):
        _add_repeated_keys(records.source, Path(records.source).read_bytes(), findings)
    return list(findings)


def _open_file(path: str, images: str | None, findings: Findings, root: str = "", split: str = "") -> Split:
    with collector_off():
        coco = read_file(path, findings)
    if coco is None:
        return Split(path, None, None)
    names = list(pictures_of(coco, path, "").pictures)
    if images is not None:
        candidates = [images, *image_folder_candidates(images, path), *_subfolders(images)]
        return Split(path, coco, find_image_folder(names, candidates) or images)
    beside = os.path.dirname(os.path.abspath(path))
    roots = [root] if root else [beside, os.path.dirname(beside)]
    candidates = [folder for each in roots for folder in image_folder_candidates(each, path, split)]
    folder = find_image_folder(names, candidates, () if root else roots)
    if root and folder is None:
        value = f"e.g. {names[0]!r}; looked in {', '.join(candidates)}" if names else "no image has a file name"
        findings.add("no_pictures", path, value)
    return Split(path, coco, folder)


def _subfolders(root: str) -> list[str]:
    """Folders in `root` and in `root/images`: for a file whose name does not tell its split."""
    parents = [folder for folder in (root, os.path.join(root, "images")) if os.path.isdir(folder)]
    return [os.path.join(parent, name) for parent in parents for name in sorted(os.listdir(parent))]


def _open_folder(root: str, images: str | None, findings: Findings) -> list[Split]:
    splits, missing = [], {}
    for name in ("train", "val", "test"):
        format = detect_format(root, name)
        try:
            if format == "coco":
                file, looked_for = find_annotations(root, name)
                if file is None:
                    raise FileNotFoundError(f"{root}: no annotations of split {name!r} among {', '.join(looked_for)}")
                splits.append(_open_file(file, images, findings, root, name))
            else:
                imported = {"voc": read_voc, "yolo": read_yolo}[format](root, name)
                splits.append(_from_imported(imported, findings))
        except FileNotFoundError as error:
            missing[name] = str(error)
    if not splits:
        raise FileNotFoundError(
            f"{missing['train']}. There are no annotations of a train, val or test split in COCO, Pascal VOC or YOLO "
            "format; name the annotation files themselves"
        )
    for name in ("train", "val"):
        if name in missing:
            findings.add("missing_split", root, missing[name])
    return splits


def _from_imported(imported: Imported, findings: Findings) -> Split:
    for problem in imported.problems:
        findings.add("label_file", imported.source, problem)
    return Split(imported.source, imported.coco, imported.folder)


def _compare_all_classes(splits: list[Split], findings: Findings) -> None:
    classes = [_classes(split.table) for split in splits]
    for split, (ids, boxes) in zip(splits[1:], classes[1:], strict=True):
        for code, value in compare_classes(classes[0][0], ids, boxes):
            findings.add(code, split.file, value)


def _classes(table: FileTable) -> tuple[dict[str, int], dict[str, int]]:
    """({name: id}, {name: boxes}) of a file."""
    counts = np.bincount(table.label[table.label >= 0], minlength=len(table.class_names)).tolist()
    rows = [row for row, name in enumerate(table.class_names) if isinstance(name, str)]
    ids = {table.class_names[row]: table.category_numbers[row] for row in rows}
    return ids, {table.class_names[row]: counts[row] for row in rows}


def quick_checks(records: Records) -> list[Finding]:
    """Return what is wrong with one split, as far as its arrays show it; a fraction of a second for 860k boxes."""
    findings = Findings()
    apply_rules(RecordsTable(records), findings)
    return list(findings)


def check_splits(train: Records, val: Records) -> list[Finding]:
    """Return what does not fit together between two splits: classes by name, and pictures by file name."""
    findings = Findings()
    ids = [dict(zip(r.class_names, r.category_ids.tolist(), strict=True)) for r in (train, val)]
    boxes = dict(zip(val.class_names, val.class_counts().tolist(), strict=True))
    for code, value in compare_classes(*ids, boxes):
        findings.add(code, val.source, value)
    if train.class_names != val.class_names and set(train.class_names) == set(val.class_names):
        value = "labels count differently: read the second with classes=, as coco_folder does"
        findings.add("classes_differ", val.source, value)
    paths = (_path(train, i) for i in range(len(train)))
    known = {os.path.basename(path): path for path in paths if path}
    for i in range(len(val)):
        path, image_id = _path(val, i), int(val.image_ids[i])
        twin = known.get(os.path.basename(path))
        if twin == path and path:
            findings.add("same_picture", val.source, f"{path} is in {train.source} too", image_id=image_id)
        elif twin and _same_length(path, twin):  # many data sets have another 0001.jpg in each split
            findings.add("same_file_name", val.source, f"{path} is as long as {twin}", image_id=image_id)
    return list(findings)


def check_before_training(train: Records, val: Records | None = None) -> list[Finding]:
    """Run the quick checks, log what is worth knowing, and refuse to train on errors.

    Returns:
        The findings that are no errors.

    Raises:
        ValueError: there are errors; the message lists them.
    """
    found = quick_checks(train) + check_keys(train)
    if val is not None and val is not train:
        said = {str(finding).split(" (category id")[0] for finding in found if RULES[finding.code].once}
        more = [f for f in quick_checks(val) if str(f).split(" (category id")[0] not in said]
        found += more + check_keys(val) + check_splits(train, val)
    findings = Findings()
    for finding in found:
        findings.include(finding)
    if findings.has_errors:
        errors = Findings()
        for finding in found:
            if finding.severity == ERROR:
                errors.include(finding)
        files = dict.fromkeys(finding.file for finding in errors)
        named = " ".join(file for file in files if file.endswith(".json")) or "DIR"
        raise ValueError(
            f"the data has errors; training on it would be meaningless:\n{errors.summary()}\n"
            f"All checks, of the pictures too: imbdet check_data {named}\n"
            "Repair: the same with one file and --fix FIXED.json (and --drop for what cannot be computed)"
        )
    if found:
        _log.warning("checks of the data:\n%s", findings.summary())
    return found


def _same_length(path: str, other: str) -> bool:
    try:
        return os.path.getsize(path) == os.path.getsize(other)
    except OSError:
        return False


def _path(records: Records, index: int) -> str:
    path = getattr(records.images, "path", None)
    return path(index) if path else ""
