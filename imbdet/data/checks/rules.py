"""Every rule that data is checked by: its code, how bad it is, what it means, what would be right, how it is found, and
how it is repaired, side by side and in the order of the repair (from the outside in: a merged image's annotations are
no longer those of an unknown image).

Rules of files and of pictures come first (`rules_of_files.py`, `rules_of_pictures.py`), here are those of annotations,
classes and splits.

An error is what makes a training or an evaluation wrong or impossible, and training refuses it; a warning is what this
framework copes with, but other tools do not, or what you should know; an info is neither.

A rule is found by a function of a table (`checks/table.py`) that yields hits. A hit that can be repaired without a
person's judgment brings its repair along (`mend`); of what cannot be computed, entries of rules with `drops` may be
dropped, which is done on demand only. Rules marked `quick` need no file and run before every training; what rules
marked `once` say of one file is not said again of the next. A rule without such a function is found elsewhere (where
files are opened and splits compared).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from imbdet.data.checks import rules_of_files, rules_of_pictures
from imbdet.data.checks.boxes import area_fits, classify_boxes, guess_convention, impossible_areas
from imbdet.data.checks.rule import ERROR, INFO, RULES, SEVERITIES, WARNING, Rule, rule
from imbdet.data.checks.rules_of_files import repeats
from imbdet.data.checks.table import Columns, FileTable, Hit, describe_value
from imbdet.data.datasets.coco_plain import crowd_of

__all__ = ["ERROR", "RULES", "SEVERITIES", "Rule", "compare_classes"]

FIRST = (rules_of_files, rules_of_pictures)  #: their rules are repaired before those of this file

# Annotations. -------------------------------------------------------------------------------------------------------


@rule("unknown_image", ERROR, "annotation of an image that is not there", "the id of one of the images", drops=True)
def _unknown_image(table: FileTable) -> Iterator[Hit]:
    for row in np.flatnonzero((table.owner < 0) & table.has_owner & bool(table.image_ids)).tolist():
        yield table.hit("annotations", row, f"image_id {table.entries['annotations'][row][1].get('image_id')}")


@rule("unknown_category", ERROR, "annotation of an unknown category", "the id of one of the categories", drops=True)
def _unknown_category(table: FileTable) -> Iterator[Hit]:
    for row in np.flatnonzero((table.label < 0) & table.has_label & bool(table.class_names)).tolist():
        yield table.hit("annotations", row, f"category_id {table.entries['annotations'][row][1].get('category_id')}")


@rule(
    "box_convention",
    ERROR,
    "the boxes are not [left, top, width, height] in pixels",
    "convert all of them before anything else",
    quick=True,
)
def _box_convention(table: Columns) -> Iterator[Hit]:
    convention = guess_convention(table.xywh, *table.size)
    if convention:
        yield Hit(f"they look like {convention}; e.g. {table.xywh[table.has_box][0].tolist()}")


@rule("missing_box", WARNING, "no box, but a mask", "a `bbox` (the box around the mask is taken here)")
def _missing_box(table: FileTable) -> Iterator[Hit]:
    for row, (_, entry) in enumerate(table.entries["annotations"]):
        if not entry.get("bbox") and table.has_box[row]:
            yield table.hit("annotations", row, key="bbox", mend=table.from_mask(row))


def _wrong_boxes(code: str) -> Callable[[Columns], Iterator[Hit]]:
    def find(table: Columns) -> Iterator[Hit]:
        wrong = classify_boxes(table.xywh, *table.size)[code] & table.has_box
        for row in np.flatnonzero(wrong).tolist():
            mend = None
            if isinstance(table, FileTable):
                mend = _clip(table, row) if code == "box_partly_outside" else table.from_mask(row)
            hit = table.hit("annotations", row, table.describe_box(row, "outside" in code), mend=mend)
            doubted = "outside" in code and isinstance(table, FileTable) and table.doubts_size(row)
            yield replace(hit, keep=True, mend=None, right="the picture's size first, see there") if doubted else hit

    return find


def _clip(table: FileTable, row: int) -> Callable[[], str]:
    left, top, width, height = table.xywh[row].tolist()
    right, bottom = min(left + width, table.size[0][row]), min(top + height, table.size[1][row])
    box = [max(left, 0.0), max(top, 0.0)]
    box += [float(right) - box[0], float(bottom) - box[1]]
    values = {"bbox": box}
    if table.entries["annotations"][row][1].get("area") is not None and not table.mask_area(row):
        values["area"] = box[2] * box[3]
    return table.set("annotations", row, "box clipped to its image", **values)


_FOUR = "four finite numbers"
_POSITIVE = "width and height above 0"
# COCO's own train2017 has a box of zero size, and training drops them: a warning.
for _code, _severity, _title, _right in (
    ("box_not_finite", ERROR, "box with NaN or infinity", _FOUR),
    ("box_negative_size", ERROR, "box of negative size", _POSITIVE),
    ("box_zero_size", WARNING, "box of zero size", f"{_POSITIVE}; training leaves it out"),
    ("box_outside", ERROR, "box entirely outside its image", "a box on the picture"),
    ("box_partly_outside", WARNING, "box partly outside its image, by more than 1 pixel", "a box on the picture"),
):
    rule(_code, _severity, _title, _right, quick=True, drops=_code != "box_partly_outside")(_wrong_boxes(_code))


@rule(
    "duplicate_box", WARNING, "the same box of the same class twice in an image", "one annotation an object", drops=True
)
def _duplicate_box(table: FileTable) -> Iterator[Hit]:
    rows = np.flatnonzero(~table.crowd & table.has_box & (table.owner >= 0))
    keys = np.column_stack([table.owner[rows], table.label[rows], table.xywh[rows]])
    for row, _ in repeats(list(map(tuple, keys.tolist()))):
        yield table.hit("annotations", int(rows[row]), str(table.xywh[rows[row]].tolist()))


@rule("missing_iscrowd", WARNING, "missing `iscrowd`", "0 (taken here; pycocotools fails)")
def _missing_iscrowd(table: FileTable) -> Iterator[Hit]:
    for row, (_, entry) in enumerate(table.entries["annotations"]):
        if entry.get("iscrowd") is None:
            yield table.hit("annotations", row, mend=table.set("annotations", row, "`iscrowd` set to 0", iscrowd=0))


@rule("wrong_iscrowd", WARNING, "`iscrowd` is neither 0 nor 1", "0 or 1")
def _wrong_iscrowd(table: FileTable) -> Iterator[Hit]:
    for row, (_, entry) in enumerate(table.entries["annotations"]):
        value = entry.get("iscrowd")
        if value is not None and (type(value) is not int or value not in (0, 1)) and crowd_of(value) is not None:
            mend = table.set("annotations", row, "`iscrowd` made 0 or 1", iscrowd=int(crowd_of(value)))
            yield table.hit("annotations", row, describe_value(value), mend=mend)


def _measure(table: FileTable, row: int) -> Callable[[], str] | None:
    """The repair of an area: that of the mask where it fits the box, else that of the box."""
    width, height = table.xywh[row, 2:].tolist()
    if not (width > 0 and height > 0 and width * height < 1e300):
        return None
    mask = table.mask_area(row) if not table.crowd[row] else None
    if mask is not None and mask > 0 and not impossible_areas(np.array([mask]), table.xywh[row : row + 1])[0]:
        return table.set("annotations", row, "`area` computed from the mask", area=mask)
    return table.set("annotations", row, "`area` computed from the box", area=width * height)


@rule("missing_area", WARNING, "missing `area`", "width * height (taken here; pycocotools fails)")
def _missing_area(table: FileTable) -> Iterator[Hit]:
    for row, (_, entry) in enumerate(table.entries["annotations"]):
        if entry.get("area") is None:
            mend = _measure(table, row) if table.has_box[row] else None
            yield table.hit("annotations", row, mend=mend)


_AREA = "pixels of the mask, or width * height; it decides small, medium, large"


@rule("wrong_area", WARNING, "wrong `area`", _AREA, quick=True)
def _wrong_area(table: Columns) -> Iterator[Hit]:
    sized = (table.xywh[:, 2:] > 0).all(axis=1)
    if not isinstance(table, FileTable):
        for row in np.flatnonzero(sized & impossible_areas(table.area, table.xywh)).tolist():
            yield table.hit("annotations", row, f"area {table.area[row]:g}")
        return
    wrong = impossible_areas(table.area, table.xywh).tolist()
    for row, ((_, entry), (_, _, width, height)) in enumerate(
        zip(table.entries["annotations"], table.xywh.tolist(), strict=True)
    ):
        area = entry.get("area")
        if area is None or not sized[row]:
            continue
        if type(area) not in (int, float):
            yield table.hit("annotations", row, describe_value(area), mend=_measure(table, row))
            continue
        mask = table.mask_area(row) if not table.crowd[row] else math.nan
        if wrong[row] or not area_fits(area, width, height, mask):
            beside = "" if mask is None or math.isnan(mask) else f", its mask {mask:.1f}"
            value = f"area {describe_value(area).split(', ')[1]}, but the box has {width * height:g}{beside}"
            yield table.hit("annotations", row, value, mend=_measure(table, row))


# Classes and splits. ------------------------------------------------------------------------------------------------

rule("classes_differ", ERROR, "classes that the training file does not have", "the same names in both files")
rule("class_missing", WARNING, "a class of the training file is not in this file", "the same names")
rule(
    "category_ids_differ",
    INFO,
    "a class has another id than in the training file",
    "nothing to do here: classes are matched by name",
)


@rule("no_boxes", ERROR, "no box at all", "boxes to learn from", quick=True)
def _no_boxes(table: Columns) -> Iterator[Hit]:
    if not len(table.owner) and not table.unread:
        yield Hit()


@rule(
    "only_crowd",
    ERROR,
    "all annotations are crowd regions, which training and evaluation leave out",
    "iscrowd 0 for single objects (some tools write 1 for every run-length mask)",
    quick=True,
)
def _only_crowd(table: Columns) -> Iterator[Hit]:
    if len(table.crowd) and table.crowd.all():
        yield Hit(f"all {len(table.crowd)} annotations have iscrowd 1")


def _unused(table: Columns, grouping: bool) -> Iterator[Hit]:
    """Classes without boxes that only group others (they are a `supercategory`), or those that do not."""
    if table.crowd.all() or table.unread:  # said already, or a consequence of that
        return
    known = table.label >= 0
    counts = np.bincount(table.label[known & ~table.crowd], minlength=len(table.class_names))
    crowds = np.bincount(table.label[known & table.crowd], minlength=len(table.class_names))
    for label in np.flatnonzero(counts == 0).tolist():
        name = table.class_names[label]
        if (isinstance(name, str) and name in table.groups and not crowds[label]) == grouping:
            beside = f": all of its {crowds[label]} annotations have iscrowd 1" if crowds[label] else ""
            yield Hit(f"{name!r} (category id {table.category_ids[label]}){beside}")


@rule(
    "class_without_boxes",
    WARNING,
    "class without any box, left out of groups, weights, means and samplers' targets",
    "boxes of every class in train and val",
    quick=True,
    once=True,
)
def _class_without_boxes(table: Columns) -> Iterator[Hit]:
    yield from _unused(table, grouping=False)


@rule(
    "grouping_category",
    INFO,
    "a category that only groups others (it is their supercategory) and has no box",
    "nothing to do here: it stays in the list of names and is in no statistic",
    quick=True,
    once=True,
)
def _grouping_category(table: Columns) -> Iterator[Hit]:
    yield from _unused(table, grouping=True)


@rule("images_without_objects", INFO, "images without objects", "kept, as background (keep_empty)", quick=True)
def _images_without_objects(table: Columns) -> Iterator[Hit]:
    total = len(table.image_width)
    empty = total - len(np.unique(table.owner))
    if empty and len(table.owner) and not table.unread:
        yield Hit(f"{empty} of {total} images")


def compare_classes(train: dict[str, int], other: dict[str, int], boxes: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Return (code, value) of what differs between the classes of a file and those of the training file.

    Args:
        train, other: {name: category id} of both files.
        boxes: {name: number of boxes} of the other file.
    """
    for name in other:
        if name not in train and boxes.get(name, 0):
            near = next((f"; train has {t!r}" for t in train if t.strip().lower() == name.strip().lower()), "")
            yield "classes_differ", f"{name!r} with {boxes[name]} boxes{near}"
    for name in train:
        if name not in other:
            yield "class_missing", repr(name)
    moved = [name for name in other if name in train and train[name] != other[name]]
    if moved:
        where = f"{moved[0]!r}: {train[moved[0]]} in train, {other[moved[0]]} here"
        yield "category_ids_differ", f"{len(moved)} classes, e.g. {where}"
