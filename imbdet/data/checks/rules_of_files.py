"""Rules of a COCO file as a whole: keys, types, ids and names."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from imbdet.data.checks.rule import ERROR, INFO, WARNING, rule
from imbdet.data.checks.table import NO_ID, Columns, FileTable, Hit, describe_value
from imbdet.data.datasets.coco_plain import PARTS, box_of, crowd_of, number, whole

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


def repeats(values: list) -> Iterator[tuple[int, int]]:
    """Yield (row, first row) of each value that was there before; None is no value."""
    first: dict = {}
    for row, value in enumerate(values):
        if value is not None and first.setdefault(value, row) != row:
            yield row, first[value]


@rule("duplicate_image_id", ERROR, "image id occurs more than once", "unique ids")
def _duplicate_image_id(table: FileTable) -> Iterator[Hit]:
    for row, first in repeats(table.image_numbers):
        here, there = (table.entries["images"][i] for i in (first, row))
        same = bool(table.names[row]) and table.names[row] == table.names[first]
        mend = table.merge("images", row, first, "entry of the same picture merged into the first") if same else None
        names = " and ".join(f"$.images[{i}] {entry.get('file_name')!r}" for i, entry in (here, there))
        yield table.hit("images", row, names, mend=mend)


@rule("duplicate_category_id", ERROR, "category id occurs more than once", "unique ids")
def _duplicate_category_id(table: FileTable) -> Iterator[Hit]:
    for row, first in repeats(table.category_numbers):
        names = [table.class_names[first], table.class_names[row]]
        mend = table.merge("categories", row, first, "category of the same id and name merged into the first")
        value = f"id {table.entries['categories'][row][1]['id']} is {names[0]!r} and {names[1]!r}"
        yield table.hit("categories", row, value, mend=mend if names[0] == names[1] else None)


@rule("duplicate_category_name", ERROR, "several categories have one name", "one category for each name")
def _duplicate_category_name(table: FileTable) -> Iterator[Hit]:
    for row, first in repeats([name if isinstance(name, str) else None for name in table.class_names]):
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
    for row, first in repeats([name or None for name in table.names]):
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
