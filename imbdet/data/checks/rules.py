"""Every rule that data is checked by: its code, how bad it is, what it means, what would be right, how it is found, and
how it is repaired, side by side and in the order of the repair (from the outside in: a merged image's annotations are
no longer those of an unknown image).

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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from imbdet.data.checks.boxes import area_fits, classify_boxes, guess_convention, impossible_areas
from imbdet.data.checks.pictures import size_can_be_corrected
from imbdet.data.checks.table import NO_ID, Columns, FileTable, Hit, describe_value
from imbdet.data.datasets.coco_plain import PARTS, box_of, crowd_of, number, whole

ERROR, WARNING, INFO = "error", "warning", "info"
SEVERITIES = (ERROR, WARNING, INFO)


@dataclass(frozen=True)
class Rule:
    """severity, what was found, what would be right; `find` and flags as the file's docstring says."""

    code: str
    severity: str
    title: str
    right: str
    find: Callable[..., Iterable[Hit]] | None = None
    quick: bool = False
    drops: bool = False
    once: bool = False


RULES: dict[str, Rule] = {}


def rule(code: str, severity: str, title: str, right: str, **flags: bool):
    """Put a rule into `RULES`; used as a decorator of the function that finds it."""
    RULES[code] = Rule(code, severity, title, right, None, **flags)

    def with_find(find: Callable[..., Iterable[Hit]]) -> Callable[..., Iterable[Hit]]:
        RULES[code] = Rule(code, severity, title, right, find, **flags)
        return find

    return with_find


# The file. ----------------------------------------------------------------------------------------------------------

rule("unreadable_file", ERROR, "the file cannot be read", "a complete COCO JSON file")
rule("not_strict_json", WARNING, "not valid JSON", "no NaN or Infinity (read here; most tools refuse the file)")
rule("duplicate_key", WARNING, "a key stands twice in one object", "each key once (the last one counts)")
rule("label_file", ERROR, "a label file cannot be understood", "see there")
rule("missing_split", ERROR, "a split is missing", "a train and a val split")
rule("not_loadable", ERROR, "training cannot read this", "see there")

_TYPES = {
    "images": {"id": "an id", "file_name": "text", "width": "a number", "height": "a number"},
    "annotations": {"id": "an id", "image_id": "an id", "category_id": "an id", "bbox": "", "iscrowd": "0 or 1"},
    "categories": {"id": "an id", "name": "text"},
}
_TYPES["annotations"]["bbox"] = "four numbers [left, top, width, height]"


def _fits(part: str, key: str, entry: dict) -> bool:
    """Whether the typed reader takes this value; `entry` in its form."""
    value = entry.get(key)
    if key in ("id", "image_id", "category_id"):
        return type(value) is int and whole(value) is not None
    if key == "bbox":
        box = box_of(entry)
        return box is not None and not any(isinstance(item, str) for item in value)
    if key == "iscrowd":
        return crowd_of(value) is not None
    if key in ("width", "height"):
        return type(value) in (int, float) and number(value) is not None
    if key == "file_name" and value in (None, ""):
        return isinstance(entry.get("coco_url"), str) and bool(entry["coco_url"])
    return isinstance(value, str)


def _misfits(table: FileTable, missing: bool) -> Iterator[Hit]:
    """Keys that the typed reader does not take: those that are missing, or the others; looked for once in a table."""
    if table.misfits is None:
        table.misfits = [
            (part, row, key)
            for part, keys in _TYPES.items()
            for row, plain in enumerate(table.plain[part])
            for key in keys
            if not _fits(part, key, plain)
        ]
    for part, row, key in table.misfits:
        entry = table.entries[part][row][1]
        if (key not in entry) == missing:
            value = f"no key {key!r}" if missing else describe_value(entry[key])
            yield table.hit(part, row, value, key, _TYPES[part][key], _mend_type(table, part, row, key))


def _mend_type(table: FileTable, part: str, row: int, key: str) -> Callable[[], str] | None:
    entry = table.entries[part][row][1]
    if key == "bbox":
        box = box_of(entry)
        text = box and table.set(part, row, "box written as text made numbers", bbox=box)
        return text or table.from_mask(row)
    if (part, key) == ("annotations", "id"):
        return _number_anew(table, row)
    if key in ("width", "height") and number(entry.get(key)) is not None:
        return table.set(part, row, "size written as text made a number", **{key: number(entry[key])})
    return None


@rule("lacks_key", ERROR, "a key is missing", "see the place", drops=True)
def _lacks_key(table: FileTable) -> Iterator[Hit]:
    for part in PARTS:
        if part not in table.coco:
            yield Hit(f"no key {part!r}", key="$", right=f"$.{part}: a list of {{{', '.join(_TYPES[part])}}}")
    yield from _misfits(table, missing=True)


@rule("wrong_type", ERROR, "a value is of the wrong type", "see the place", drops=True)
def _wrong_type(table: FileTable) -> Iterator[Hit]:
    for part in PARTS:
        right = f"a list of {{{', '.join(_TYPES[part])}}}"
        content = table.coco.get(part, [])
        if not isinstance(content, list):
            yield Hit(describe_value(content), key=f"$.{part}", right=right)
            continue
        rows = {i for i, _ in table.entries[part]}
        for i, entry in enumerate(content):
            if i not in rows:
                yield Hit(describe_value(entry), part, i, right=right)
    yield from _misfits(table, missing=False)


@rule("no_images", ERROR, "no image", "at least one image")
def _no_images(table: FileTable) -> Iterator[Hit]:
    if table.coco.get("images") == [] and not table.partial:
        yield Hit()


@rule("no_categories", ERROR, "no category", "at least one category")
def _no_categories(table: FileTable) -> Iterator[Hit]:
    if table.coco.get("categories") == [] and not table.partial:
        yield Hit()


@rule("text_ids", INFO, "ids that are not JSON integers", "nothing: read and kept, results are written with them")
def _text_ids(table: FileTable) -> Iterator[Hit]:
    for part in PARTS:
        for row, (plain, (_, entry)) in enumerate(zip(table.plain[part], table.entries[part], strict=True)):
            key = next((key for key in ("id", "image_id", "category_id") if plain.get(key) is not entry.get(key)), None)
            if key:
                how = "numbered 1, 2, 3 ... in the order of the file"
                how = "read as whole numbers" if whole(entry[key]) == plain[key] else how
                yield table.hit(part, row, f"{entry[key]!r}, as all like it, is {how}", key)
                break


# Ids and names. -----------------------------------------------------------------------------------------------------


def _repeats(values: list) -> Iterator[tuple[int, int]]:
    """(row, first row) of each value that was there before; None is no value."""
    first: dict = {}
    for row, value in enumerate(values):
        if value is not None and first.setdefault(value, row) != row:
            yield row, first[value]


@rule("duplicate_image_id", ERROR, "image id occurs more than once", "unique ids")
def _duplicate_image_id(table: FileTable) -> Iterator[Hit]:
    for row, first in _repeats(table.image_numbers):
        here, there = (table.entries["images"][i] for i in (first, row))
        same = bool(table.names[row]) and table.names[row] == table.names[first]
        mend = table.merge("images", row, first, "entry of the same picture merged into the first") if same else None
        names = " and ".join(f"$.images[{i}] {entry.get('file_name')!r}" for i, entry in (here, there))
        yield table.hit("images", row, names, mend=mend)


@rule("duplicate_category_id", ERROR, "category id occurs more than once", "unique ids")
def _duplicate_category_id(table: FileTable) -> Iterator[Hit]:
    for row, first in _repeats(table.category_numbers):
        names = [table.class_names[first], table.class_names[row]]
        mend = table.merge("categories", row, first, "category of the same id and name merged into the first")
        value = f"id {table.entries['categories'][row][1]['id']} is {names[0]!r} and {names[1]!r}"
        yield table.hit("categories", row, value, mend=mend if names[0] == names[1] else None)


@rule("duplicate_category_name", ERROR, "several categories have one name", "one category for each name")
def _duplicate_category_name(table: FileTable) -> Iterator[Hit]:
    for row, first in _repeats([name if isinstance(name, str) else None for name in table.class_names]):
        ids = [table.entries["categories"][i][1].get("id") for i in (first, row)]
        if table.category_numbers[row] not in (None, table.category_numbers[first]):
            mend = table.merge("categories", row, first, "category merged into the first of its name")
            yield table.hit("categories", row, f"{table.class_names[row]!r} has ids {ids[0]} and {ids[1]}", mend=mend)


@rule(
    "duplicate_file_name",
    ERROR,
    "several images are one picture file",
    "one image entry for each picture, with all its boxes",
    quick=True,
)
def _duplicate_file_name(table: Columns) -> Iterator[Hit]:
    if len(set(table.names)) == len(table.names):
        return
    for row, first in _repeats([name or None for name in table.names]):
        ids = [table.image_ids[first], table.image_ids[row]]
        if ids[0] != ids[1]:
            merge = getattr(table, "merge", None)
            mend = merge and merge("images", row, first, "entry of the same picture merged into the first")
            yield table.hit("images", row, f"{table.names[row]!r} is images {ids}", mend=mend)


def _number_anew(table: FileTable, row: int) -> Callable[[], str]:
    entry = table.entries["annotations"][row][1]

    def mend() -> str:
        table.highest_id += 1
        entry["id"] = table.highest_id
        table.changed[id(entry)] = "annotations"
        return "annotation given a new id"

    return mend


def _anew(table: Columns, row: int) -> Callable[[], str] | None:
    return _number_anew(table, row) if isinstance(table, FileTable) else None


@rule("duplicate_annotation_id", ERROR, "annotation id occurs more than once", "unique ids", quick=True)
def _duplicate_annotation_id(table: Columns) -> Iterator[Hit]:
    ids = table.annotation_ids
    first = np.zeros(len(ids), dtype=bool)
    first[np.unique(ids, return_index=True)[1]] = True
    for row in np.flatnonzero(~first & (ids != NO_ID)).tolist():
        yield table.hit("annotations", row, key="id", mend=_anew(table, row))


@rule(
    "annotation_id_0", WARNING, "annotation id 0", "ids from 1: COCO evaluators count id 0 as never found", quick=True
)
def _annotation_id_0(table: Columns) -> Iterator[Hit]:
    for row in np.flatnonzero(table.annotation_ids == 0)[:1].tolist():
        yield table.hit("annotations", row, key="id", mend=_anew(table, row))


# Pictures. ----------------------------------------------------------------------------------------------------------

rule("pictures_not_checked", INFO, "pictures were not checked", "--images DIR")
rule("no_pictures", ERROR, "none of the pictures was found", "pictures in one of the folders that are looked at")
rule("same_picture", ERROR, "the same picture in two splits", "val and test pictures that train does not have")
rule(
    "same_file_name",
    WARNING,
    "the same file name and length in two splits",
    "val and test pictures that train does not have; `imbdet check_data` compares their content",
)


def _looked_at(table: FileTable, *status: str) -> Iterator[tuple[int, object]]:
    """(row, picture) of the images whose picture is of this status."""
    if table.pictures is not None:
        for row, name in enumerate(table.names):
            picture = table.pictures.pictures.get(name)
            if picture is not None and picture.status in status:
                yield row, picture


@rule("picture_missing", ERROR, "no such picture", "a file in the folder of pictures", drops=True)
def _picture_missing(table: FileTable) -> Iterator[Hit]:
    for row, picture in _looked_at(table, "missing"):
        yield table.hit("images", row, picture.path + (picture.problem and f": {picture.problem}"))


@rule(
    "picture_outside",
    ERROR,
    "the file name leads out of the folder of pictures: not opened",
    "names relative to the folder that holds all of them",
    quick=True,
)
def _picture_outside(table: Columns) -> Iterator[Hit]:
    for row in table.outside():
        yield table.hit("images", row, table.names[row])


@rule(
    "picture_refused",
    ERROR,
    "no regular file, or too large: not opened",
    "a picture file of at most so many pixels as the environment variable IMBDET_MAX_PIXELS says",
)
def _picture_refused(table: FileTable) -> Iterator[Hit]:
    for row, picture in _looked_at(table, "refused"):
        yield table.hit("images", row, picture.problem)


@rule(
    "picture_nearly_constant",
    WARNING,
    "nearly all of the picture has one value",
    "a picture with something on it; if it is not so in other programs, its bit depth is read otherwise there",
)
def _picture_nearly_constant(table: FileTable) -> Iterator[Hit]:
    for row, picture in _looked_at(table, "fine"):
        if picture.levels and picture.levels[1] - picture.levels[0] < 8:
            value = f"{picture.path}: 99.8 % of its values are {picture.levels[0]} to {picture.levels[1]} of 0 to 255"
            yield table.hit("images", row, value)


@rule("picture_elsewhere", INFO, "picture found by the last part of its name", "the file's place in the folder")
def _picture_elsewhere(table: FileTable) -> Iterator[Hit]:
    for row, picture in _looked_at(table, "fine", "unreadable", "truncated"):
        if picture.found:
            mend = table.set("images", row, "file name written as it was found", file_name=picture.found)
            yield table.hit("images", row, f"{picture.name!r} is {picture.path}", mend=mend)


@rule("picture_unreadable", ERROR, "not readable as a picture", "a picture file", drops=True)
def _picture_unreadable(table: FileTable) -> Iterator[Hit]:
    for row, picture in _looked_at(table, "unreadable"):
        yield table.hit("images", row, f"{picture.path}: {picture.problem}")


@rule("picture_truncated", ERROR, "picture cut short", "a complete file: copy it again")
def _picture_truncated(table: FileTable) -> Iterator[Hit]:
    for row, picture in _looked_at(table, "truncated"):
        yield table.hit("images", row, f"{picture.path}: {picture.problem}")


@rule("picture_repeated", WARNING, "the same picture twice in one split", "each picture once")
def _picture_repeated(table: FileTable) -> Iterator[Hit]:
    first: dict[str, str] = {}
    for row, picture in _looked_at(table, "fine", "unreadable", "truncated"):
        name = first.setdefault(picture.digest, picture.name) if picture.digest else picture.name
        if name != picture.name:
            yield table.hit("images", row, f"{picture.name} is {name}")


def _other_sizes(table: FileTable, turned: bool) -> Iterator[tuple[int, object, str]]:
    for row, picture in _looked_at(table, "fine", "truncated", "unreadable"):
        said = table.image_width[row], table.image_height[row]
        if picture.size and picture.size != said:
            is_turned = picture.stored == said
            if is_turned == turned:
                words = "x".join("nothing" if math.isnan(value) else f"{value:g}" for value in said)
                is_now = f"the picture is {picture.size[0]}x{picture.size[1]}"
                yield row, picture, f"{picture.name}: the file says {words}, {is_now}"


@rule(
    "size_turned",
    ERROR,
    "the file has the picture's size before its EXIF orientation",
    "the size as the picture is shown; look at it: if its boxes lie wrong, turn them or remove the EXIF tag",
)
def _size_turned(table: FileTable) -> Iterator[Hit]:
    for row, _, value in _other_sizes(table, turned=True):
        yield table.hit("images", row, value)


@rule("size_differs", ERROR, "the picture's size is not the one in the file", "the size of the picture")
def _size_differs(table: FileTable) -> Iterator[Hit]:
    finite = np.flatnonzero(np.isfinite(table.xywh).all(axis=1))
    order = finite[np.argsort(table.owner[finite], kind="stable")]
    owners = table.owner[order]
    for row, picture, value in _other_sizes(table, turned=False):
        width, height = picture.size
        begin, end = np.searchsorted(owners, [row, row + 1])
        boxes = table.xywh[order[begin:end]]
        if size_can_be_corrected((table.image_width[row], table.image_height[row]), picture.size, boxes):
            mend = table.set("images", row, "size taken from the picture", width=width, height=height)
            yield table.hit("images", row, value, mend=mend)
        else:
            right = f"{width}x{height}, and boxes that fit it: were the pictures resized without their boxes?"
            yield table.hit("images", row, value, right=right)


@rule("image_size", ERROR, "image without a positive width and height", "the picture's size in pixels", quick=True)
def _image_size(table: Columns) -> Iterator[Hit]:
    width, height = table.image_width, table.image_height
    usable = (width >= 1) & (height >= 1) & (width < 2**31) & (height < 2**31)
    for row in np.flatnonzero(~usable & ~np.isnan(width) & ~np.isnan(height)).tolist():
        yield table.hit("images", row, f"{width[row]:g}x{height[row]:g}")


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
    for row, _ in _repeats(list(map(tuple, keys.tolist()))):
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
