"""The cheap checks that run before every training, on the flat arrays; no picture is opened."""

from __future__ import annotations

import logging
import os

import numpy as np

from imbdet.data.checks.boxes import classify_boxes, guess_convention
from imbdet.data.checks.findings import Finding, Findings
from imbdet.data.checks.kinds import ERROR
from imbdet.data.checks.splits import compare_classes
from imbdet.data.records import Records

_log = logging.getLogger(__name__)


def quick_checks(records: Records) -> list[Finding]:
    """What is wrong with one split, as far as its arrays show it; a fraction of a second for 860k boxes."""
    findings, file = Findings(), records.source
    bad_size = (records.heights <= 0) | (records.widths <= 0)
    for i in np.flatnonzero(bad_size):
        value = f"{records.widths[i]}x{records.heights[i]}"
        findings.add("image_size", file, value, image_id=int(records.image_ids[i]))
    owner = records.object_image
    widths = np.where(bad_size, np.nan, records.widths)[owner]
    heights = np.where(bad_size, np.nan, records.heights)[owner]
    convention = guess_convention(records.xywh, widths, heights)
    if convention:
        findings.add("box_convention", file, f"they look like {convention}; e.g. {records.xywh[0].tolist()}")
    masks = classify_boxes(records.xywh, widths, heights)
    masks["wrong_area"] = (records.xywh[:, 2:] > 0).all(axis=1) & ~_plausible_areas(records)
    masks["annotation_id_0"] = records.annotation_ids == 0
    masks["duplicate_annotation_id"] = _repeats(records.annotation_ids)
    for code, mask in masks.items():
        for j in np.flatnonzero(mask):
            image = owner[j]
            beside = f" in an image of {records.widths[image]}x{records.heights[image]}" if "outside" in code else ""
            value = f"area {records.areas[j]:g}" if code == "wrong_area" else f"{records.xywh[j].tolist()}{beside}"
            ids = dict(image_id=int(records.image_ids[image]), annotation_id=int(records.annotation_ids[j]))
            findings.add(code, file, value, **ids)
    counts = records.class_counts()
    if not counts.any():
        findings.add("no_boxes", file)
    for label in np.flatnonzero(counts == 0) if counts.any() else []:
        findings.add("class_without_boxes", file, repr(records.class_names[label]))
    if records.num_empty:
        findings.add("images_without_objects", file, f"{records.num_empty} of {len(records)} images")
    return list(findings)


def check_splits(train: Records, val: Records) -> list[Finding]:
    """What does not fit together between two splits: classes by name, and pictures by file name."""
    findings = Findings()
    ids = [dict(zip(r.class_names, r.category_ids.tolist(), strict=True)) for r in (train, val)]
    boxes = dict(zip(val.class_names, val.class_counts().tolist(), strict=True))
    compare_classes(*ids, boxes, val.source, findings)
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
    found = quick_checks(train)
    if val is not None and val is not train:
        said = {finding.value for finding in found if finding.code == "class_without_boxes"}
        more = [f for f in quick_checks(val) if f.code != "class_without_boxes" or f.value not in said]
        found += more + check_splits(train, val)
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
            f"the data has errors, so that training on it would mean nothing:\n{errors.summary()}\n"
            f"All checks, of the pictures too: python tools/check_data.py {named}\n"
            "Repair: the same with one file and --fix FIXED.json"
        )
    if found:
        _log.warning("checks of the data:\n%s", findings.summary())
    return found


def _plausible_areas(records: Records) -> np.ndarray:
    """bool (M,): positive, and not larger than the box. Masks are not in the records, so that no more can be said."""
    width, height = records.xywh[:, 2], records.xywh[:, 3]
    with np.errstate(invalid="ignore"):
        return (records.areas > 0) & (records.areas <= 1.05 * width * height + 2 * (width + height) + 1)


def _repeats(ids: np.ndarray) -> np.ndarray:
    """bool (M,): every occurrence of an id after its first."""
    first = np.zeros(len(ids), dtype=bool)
    first[np.unique(ids, return_index=True)[1]] = True
    return ~first


def _same_length(path: str, other: str) -> bool:
    try:
        return os.path.getsize(path) == os.path.getsize(other)
    except OSError:
        return False


def _path(records: Records, index: int) -> str:
    path = getattr(records.images, "path", None)
    return path(index) if path else ""
