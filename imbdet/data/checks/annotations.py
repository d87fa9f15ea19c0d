"""Checks of one COCO JSON file, also of files that the strict reader refuses.

Notable: nothing here stops at the first fault. The file is parsed to plain Python objects, an entry that cannot be
understood is reported and left out of the checks that need it, and the boxes are judged as columns.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from typing import Any

import msgspec
import numpy as np

from imbdet.data.checks.boxes import classify_boxes, guess_convention, polygon_area, wrong_area
from imbdet.data.checks.findings import Findings
from imbdet.data.datasets.coco import explain_json_error

PARTS = {
    "images": {"id": int, "file_name": str, "width": float, "height": float},
    "annotations": {"id": int, "image_id": int, "category_id": int, "bbox": list},
    "categories": {"id": int, "name": str},
}
_WORDS = {int: "a whole number", float: "a number", str: "text", list: "four numbers [left, top, width, height]"}


def parse_loosely(path: str, findings: Findings) -> dict | None:
    """The file as plain objects, or None with a finding; NaN, Infinity and a byte order mark are read, and reported."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        findings.add("unreadable_file", path, f"{path}: {error.strerror}")
        return None
    try:
        content = msgspec.json.decode(data)
    except msgspec.DecodeError as strict:
        problem = explain_json_error(path, strict, data)
        try:
            content = json.loads(data.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            findings.add("unreadable_file", path, problem)
            return None
        findings.add("not_strict_json", path, problem)
    if not isinstance(content, dict):
        looks_like = " (a list is what a file of detection results holds)" if isinstance(content, list) else ""
        findings.add(
            "wrong_type", path, f"{_name(content)}{looks_like}", place="$", right="{images, annotations, categories}"
        )
        return None
    return content


def check_annotations(coco: dict, path: str, findings: Findings) -> None:
    """All checks that need no pictures; `coco` as `parse_loosely` returns it."""
    parts = {part: _check_part(coco, part, path, findings) for part in PARTS}
    images = _check_images(parts["images"], path, findings)
    names = _check_categories(parts["categories"], path, findings)
    _check_ids(parts["annotations"], path, findings)
    supers = {str(c.get("supercategory")) for _, c in parts["categories"] if c.get("supercategory") != c.get("name")}
    _check_annotations(parts["annotations"], images, names, supers, path, findings)


def report_unused_classes(unused: list[tuple[str, str]], supers: set, path: str, findings: Findings) -> None:
    """Say once over all files of each class without boxes what it is.

    Args:
        unused: (name, text for the report) of each.
        supers: the names that other categories have as their `supercategory`.
    """
    codes = ("grouping_category", "class_without_boxes")
    said = {finding.value.split(" (category id")[0] for finding in findings if finding.code in codes}
    for name, text in unused:
        if text.split(" (category id")[0] not in said:
            findings.add(codes[0] if name in supers else codes[1], path, text)


def whole(value: Any) -> int | None:
    """The whole number that this is, or says as text ("12", 12.0); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    return None


def number(value: Any) -> float | None:
    """The number that this is, or says as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def box_of(annotation: dict) -> list[float] | None:
    """The four numbers of `bbox`, or None."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return None
    numbers = [number(value) for value in box]
    return None if any(value is None for value in numbers) else numbers


def _name(value: Any) -> str:
    text = json.dumps(value, default=str)
    kind = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "true or false"}
    return f"{kind.get(type(value), 'a number')}, {text if len(text) <= 60 else text[:57] + '...'}"


def _check_part(coco: dict, part: str, path: str, findings: Findings) -> list[tuple[int, dict]]:
    """(position, entry) of every entry that is an object; keys and types of each are checked."""
    place = f"$.{part}"
    right = "a list of {" + ", ".join(PARTS[part]) + "}"
    if part not in coco:
        findings.add("lacks_key", path, f"no key {part!r}", place="$", right=f"{place}: {right}")
        return []
    if not isinstance(coco[part], list):
        findings.add("wrong_type", path, _name(coco[part]), place=place, right=right)
        return []
    entries = []
    for i, entry in enumerate(coco[part]):
        if not isinstance(entry, dict):
            fixable = part == "annotations"
            findings.add("wrong_type", path, _name(entry), place=f"{place}[{i}]", right=right, fixable=fixable)
            continue
        for key, kind in PARTS[part].items():
            value = entry.get(key)
            if type(value) is kind or (kind is float and type(value) is int):
                if kind is not list or box_of(entry) is not None and not any(isinstance(v, str) for v in value):
                    continue
            if key == "file_name" and entry.get("coco_url"):
                continue
            _report_key(entry, part, i, key, kind, path, findings)
        entries.append((i, entry))
    return entries


def _report_key(entry: dict, part: str, i: int, key: str, kind: type, path: str, findings: Findings) -> None:
    ids = {"image_id": entry.get("id")} if part == "images" else {}
    if part == "annotations":
        ids = {"image_id": entry.get("image_id"), "annotation_id": entry.get("id")}
    # The repair drops annotations without a usable box or owner, numbers those without id, and reads "12" as 12.
    repaired = part == "annotations" or {int: whole, float: number}.get(kind, lambda value: None)(entry.get(key))
    details = dict(place=f"$.{part}[{i}].{key}", right=_WORDS[kind], fixable=repaired is not None, **ids)
    if key not in entry:
        findings.add("lacks_key", path, f"no key {key!r}", **details)
    else:
        findings.add("wrong_type", path, _name(entry[key]), **details)


def _check_images(entries: list[tuple[int, dict]], path: str, findings: Findings) -> dict[int, tuple[float, float]]:
    """Reports on ids, names and sizes; returns {id: (width, height)}, NaN where a size is not usable."""
    if not entries:
        findings.add("no_images", path)
    by_id, by_name, sizes = defaultdict(list), defaultdict(list), {}
    for i, image in entries:
        image_id = whole(image.get("id"))
        if image_id is not None:
            by_id[image_id].append((i, image.get("file_name")))
        if isinstance(image.get("file_name"), str) and image["file_name"]:
            by_name[image["file_name"]].append((i, image_id))
        width, height = number(image.get("width")), number(image.get("height"))
        if width is not None and height is not None and not (width > 0 and height > 0):
            findings.add("image_size", path, f"{width:g}x{height:g}", image_id=image_id, place=f"$.images[{i}]")
        usable = width is not None and height is not None and width > 0 and height > 0
        if image_id is not None:
            sizes.setdefault(image_id, (width, height) if usable else (math.nan, math.nan))
    for image_id, places in by_id.items():
        if len(places) > 1:
            where = ", ".join(f"$.images[{i}] {name!r}" for i, name in places[:5])
            same = len({name for _, name in places}) == 1  # then the repair drops all but the first
            findings.add("duplicate_image_id", path, where, image_id=image_id, fixable=same)
    for name, places in by_name.items():
        ids = [image_id for _, image_id in places]
        if len(set(ids)) > 1:
            findings.add("duplicate_file_name", path, f"{name!r} is images {ids[:5]}", image_id=ids[0])
    return sizes


def _check_categories(entries: list[tuple[int, dict]], path: str, findings: Findings) -> dict[int, str]:
    """Reports on ids and names; returns {id: name}."""
    if not entries:
        findings.add("no_categories", path)
    names, ids_of = {}, defaultdict(set)
    for i, category in entries:
        category_id, name = whole(category.get("id")), category.get("name")
        if category_id is None:
            continue
        if category_id in names:
            value = f"id {category_id} is {names[category_id]!r} and {name!r}"
            findings.add("duplicate_category_id", path, value, place=f"$.categories[{i}]")
            continue
        names[category_id] = name
        ids_of[name].add(category_id)
    for name, ids in ids_of.items():
        if len(ids) > 1:
            findings.add("duplicate_category_name", path, f"{name!r} has ids {sorted(ids)}")
    return names


def _check_ids(entries: list[tuple[int, dict]], path: str, findings: Findings) -> None:
    ids = [whole(annotation.get("id")) for _, annotation in entries]
    for annotation_id, count in Counter(ids).items():
        if count > 1 and annotation_id is not None:
            findings.add("duplicate_annotation_id", path, f"{count} annotations", annotation_id=annotation_id)
    if 0 in ids:
        i, annotation = entries[ids.index(0)]
        place = f"$.annotations[{i}].id"
        findings.add("annotation_id_0", path, image_id=annotation.get("image_id"), annotation_id=0, place=place)


def _check_annotations(
    entries: list[tuple[int, dict]],
    images: dict[int, tuple[float, float]],
    names: dict[int, str],
    supers: set,
    path: str,
    findings: Findings,
) -> None:
    """Reports on references, boxes, areas and crowd flags, on classes and images without boxes."""
    boxes, sizes, owners, seen, counts, used = [], [], [], set(), Counter(), set()
    for i, annotation in entries:
        image_id, category_id = whole(annotation.get("image_id")), whole(annotation.get("category_id"))
        where = dict(image_id=image_id, annotation_id=annotation.get("id"), place=f"$.annotations[{i}]")
        if image_id is not None and image_id not in images:
            findings.add("unknown_image", path, f"image_id {image_id}", **where)
        if category_id is not None and category_id not in names:
            findings.add("unknown_category", path, f"category_id {category_id}", **where)
        box = box_of(annotation)
        crowd = annotation.get("iscrowd")
        _check_crowd(crowd, "iscrowd" in annotation, path, findings, where)
        if box is None:
            continue
        _check_area(annotation, box, bool(crowd), path, findings, where)
        boxes.append(box)
        sizes.append(images.get(image_id, (math.nan, math.nan)))
        owners.append(where)
        if not crowd and image_id is not None:
            key = (image_id, category_id, *box)
            if key in seen:
                findings.add("duplicate_box", path, str(box), **where)
            seen.add(key)
            counts[category_id] += 1
            used.add(image_id)
    _report_boxes(boxes, sizes, owners, path, findings)
    if names and not counts:
        findings.add("no_boxes", path)
    unused = [(name, f"{name!r} (category id {i})") for i, name in names.items() if counts and not counts[i]]
    report_unused_classes(unused, supers, path, findings)
    empty = sum(image_id not in used for image_id in images)
    if empty:
        findings.add("images_without_objects", path, f"{empty} of {len(images)} images")


def _report_boxes(boxes: list, sizes: list, owners: list[dict], path: str, findings: Findings) -> None:
    if not boxes:
        return
    xywh, size = np.array(boxes, dtype=np.float64), np.array(sizes, dtype=np.float64)
    convention = guess_convention(xywh, size[:, 0], size[:, 1])
    if convention:
        findings.add("box_convention", path, f"they look like {convention}; e.g. {boxes[0]}")
    for code, mask in classify_boxes(xywh, size[:, 0], size[:, 1]).items():
        for j in np.flatnonzero(mask):
            width, height = size[j]
            beside = f" in an image of {width:g}x{height:g}" if "outside" in code else ""
            findings.add(code, path, f"{boxes[j]}{beside}", **owners[j])


def _check_crowd(crowd: Any, present: bool, path: str, findings: Findings, where: dict) -> None:
    if not present or crowd is None:
        findings.add("missing_iscrowd", path, **where)
    elif crowd not in (0, 1) or isinstance(crowd, str):
        findings.add("wrong_iscrowd", path, _name(crowd), **where)


def _check_area(annotation: dict, box: list[float], crowd: bool, path: str, findings: Findings, where: dict) -> None:
    area = annotation.get("area")
    if area is None:
        findings.add("missing_area", path, **where)
        return
    value = number(area)
    if value is None or isinstance(area, str):
        findings.add("wrong_area", path, _name(area), **where)
        return
    if not (box[2] > 0 and box[3] > 0):
        return  # the box is what is wrong
    mask = polygon_area(annotation.get("segmentation")) if not crowd else math.nan
    if wrong_area(value, box[2], box[3], mask):
        beside = "" if mask is None or math.isnan(mask) else f", its mask {mask:.1f}"
        findings.add("wrong_area", path, f"area {value:g}, but the box has {box[2] * box[3]:g}{beside}", **where)
