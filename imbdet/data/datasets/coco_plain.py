"""COCO JSON as plain objects, and what its dialects mean: text ids, boxes left out beside a mask, numbers as text.

Notable: the reader (`coco.py`) takes this way only for files that its typed reader refuses, the checks take it for all
files; what is understood here is what training understands. Nothing here raises on the value of an entry: what cannot
be understood stays as it is, for the typed reader to refuse and for the checks to report.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

PARTS = ("images", "annotations", "categories")
ORIGINAL = "id in the file"  # the key under which `understand` keeps an id that it has numbered
_INT64 = 2**63
_NO, _YES = ("", "0", "0.0", "false", "no", "none"), ("1", "1.0", "true", "yes")


def parse_json(data: bytes, path: str) -> tuple[Any, str]:
    """Return the content of a JSON file, and what is wrong with it in one line; "" for strict JSON.

    A byte order mark is skipped; NaN and Infinity, which Python's json module writes, are read.

    Raises:
        ValueError: no JSON; one line that says where and why.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(data), ""
    except RecursionError:
        raise ValueError(f"{path}: is not an annotation file: its lists are nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as strict:
        problem = explain_json_error(path, strict, data)
    try:
        text = data.decode("utf-8")
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(problem) from None
    return (_without_surrogates(content) if re.search(r"\\u[dD][89a-fA-F]", text) else content), problem


def explain_json_error(path: str, error: Exception, data: bytes) -> str:
    """Return one line on bytes that are no JSON: where, what stands there, and why that is none."""
    message = str(error)
    if not data.strip():
        return f"{path}: the file is empty"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return f"{path}: is UTF-16 text; JSON is UTF-8. Save it as UTF-8"
    if "truncated" in message and data.rstrip()[-1:] not in b"]}":
        return f"{path}: the JSON ends in the middle, after {len(data)} bytes: the file was cut short. Copy it again"
    position = re.search(r"byte (\d+)", message)
    if position is None:
        return f"{path}: is not JSON: {message}"
    at = int(position.group(1))
    line, column = data.count(b"\n", 0, at) + 1, at - (data.rfind(b"\n", 0, at) + 1) + 1
    near = data[max(at - 30, 0) : at + 20].decode(errors="replace")
    not_json = "; NaN and Infinity are not JSON" if re.match(rb"-?(NaN|Inf)", data[at : at + 4]) else ""
    return f"{path}: is not JSON at line {line}, column {column} (byte {at}), near {near!r}: {message}{not_json}"


def repeated_keys(data: bytes) -> list[tuple[str, int]]:
    """Return (key, objects or values too many) of the keys of COCO that stand twice in one object, of which the last
    counts.

    Counted as text, so that a large file costs a moment; only where there are too many of a key it is read again.
    """
    entries = dict.fromkeys((*PARTS, "licenses"), 0)
    try:
        raw = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=dict[str, msgspec.Raw])
        for part in entries.keys() & raw.keys():
            entries[part] = len(msgspec.json.decode(raw[part], type=list[msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # not strict JSON, or no lists: all is read again
    most = {**dict.fromkeys(PARTS, 1), "bbox": entries["annotations"], "image_id": entries["annotations"]}
    most |= {"category_id": entries["annotations"], "file_name": entries["images"], "iscrowd": entries["annotations"]}
    most["id"] = sum(entries.values())
    suspects = [key for key, count in most.items() if data.count(f'"{key}"'.encode()) > count]
    repeated: Counter[str] = Counter()

    def count(pairs: list[tuple[str, Any]]) -> None:
        keys = Counter(key for key, _ in pairs)
        repeated.update({key: number - 1 for key, number in keys.items() if number > 1 and key in suspects})

    if suspects:
        try:
            json.loads(data.decode("utf-8-sig"), object_pairs_hook=count)
        except (ValueError, RecursionError):  # reported already
            return []
    return sorted(repeated.items())


def _without_surrogates(value: Any) -> Any:
    """Halves of surrogate pairs, which no file and no terminal takes, replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def whole(value: Any) -> int | None:
    """Return the whole number of 64 bits that this is, or says as text ("12", 12.0); None for anything else."""
    if type(value) is float and math.isfinite(value) and value == int(value):
        value = int(value)
    elif isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,19}\s*", value):
        value = int(value)
    return value if type(value) is int and -_INT64 <= value < _INT64 else None


def number(value: Any) -> float | None:
    """Return the number that this is, or says as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def box_of(annotation: dict) -> list[float] | None:
    """Return the four numbers of `bbox`, or None."""
    box = annotation.get("bbox")
    if type(box) is not list or len(box) != 4:
        return None
    numbers = [number(value) for value in box]
    return None if None in numbers else numbers


def crowd_of(value: Any) -> bool | None:
    """Return what an `iscrowd` says: a missing one is False; None: it says nothing."""
    if value is None or isinstance(value, (bool, int)):
        return bool(value)
    word = str(value).strip().lower() if isinstance(value, (str, float)) else "?"
    return word in _YES if word in _YES + _NO else None


def mask_box(segmentation: Any) -> list[float] | None:
    """Return the box [left, top, width, height] around a COCO mask; None: no mask, or one that cannot be read.

    Of polygons it is the smallest box with all corners in it, of a run-length mask (compressed or not) the one that
    pycocotools' `toBbox` gives.
    """
    if isinstance(segmentation, dict):
        runs, height = _runs(segmentation)
        if runs is None or not runs[1::2].any():
            return None
        ends = np.cumsum(runs)
        length = runs[1::2]
        last = ends[1::2][length > 0] - 1
        first = last - length[length > 0] + 1
        left, right = int(first[0] // height), int(last[-1] // height)
        one_column = first // height == last // height
        top = int((first % height).min()) if one_column.all() else 0
        bottom = int((last % height).max()) if one_column.all() else height - 1
        return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]
    corners = _corners(segmentation)
    if corners is None:
        return None
    x = [value for polygon in corners for value in polygon[0::2]]
    y = [value for polygon in corners for value in polygon[1::2]]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]


def mask_area(segmentation: Any) -> float | None:
    """Return the area in pixels of a COCO mask; NaN: one that cannot be read; None: no mask."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        runs, _ = _runs(segmentation)
        return math.nan if runs is None else float(runs[1::2].sum())
    total = 0.0
    try:
        for polygon in segmentation:  # in plain Python: a polygon has a dozen corners, too few for numpy to be faster
            x, y = polygon[0::2], polygon[1::2]
            last_x, last_y, twice = x[-1], y[-1], 0.0
            for this_x, this_y in zip(x, y, strict=True):
                twice += last_x * this_y - this_x * last_y
                last_x, last_y = this_x, this_y
            total += abs(twice) / 2
        return float(total)
    except (TypeError, ValueError, IndexError, KeyError, OverflowError):
        return math.nan


def _corners(segmentation: Any) -> list[list[float]] | None:
    """The polygons [[x, y, x, y, ...], ...]; None where one of them is none."""
    if not isinstance(segmentation, list) or not segmentation:
        return None
    polygons = [segmentation] if type(segmentation[0]) in (int, float) else segmentation  # one polygon, not in a list
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 4 or len(polygon) % 2:
            return None
        if not all(type(value) in (int, float) and abs(value) < 1e15 for value in polygon):  # not NaN either
            return None
    return [[float(value) for value in polygon] for polygon in polygons]


def _runs(mask: dict) -> tuple[np.ndarray | None, int]:
    """Lengths of the runs of a run-length mask, outside and inside by turns down its columns, and its height."""
    size, counts = mask.get("size"), mask.get("counts")
    if not isinstance(size, list) or len(size) != 2 or any(type(value) is not int for value in size):
        return None, 0
    counts = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(counts, list) or any(type(count) is not int or count < 0 for count in counts):
        return None, 0
    if not (0 < size[0] < 2**31 and 0 < size[1] < 2**31) or sum(counts) != size[0] * size[1]:
        return None, 0
    return np.array(counts, dtype=np.int64), size[0]


def _decompressed(text: str) -> list[int] | None:
    """The counts in COCO's compressed text: five bits a character from "0", differences to the count two before."""
    counts, value, shift = [], 0, 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 60:
            return None
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (code & 16) << shift - 4
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value, shift = 0, 0
    return counts if not shift else None


def understand(coco: Any) -> Any:
    """Return the content of a COCO file in the one form that the typed reader takes; what is in it stays the same
    object.

    Ids: where all ids of a list are whole numbers (12, 12.0, "12") they are these; otherwise, and where that would make
    two of them one, each is numbered 1, 2, 3 ... in the order of the file. An id that changed is kept under `ORIGINAL`.
    Boxes: a missing, null or empty `bbox` becomes the box around `segmentation`. `area` that is no number becomes null
    (then width * height counts), `iscrowd` as text becomes a truth value.
    """
    if not isinstance(coco, dict) or not all(isinstance(coco.get(part), list) for part in PARTS):
        return coco
    known = {part: _numbering(coco[part]) for part in PARTS}
    read = {part: lambda value, table=known[part]: _read_id(value, table) for part in PARTS}
    annotations = coco["annotations"]
    if not all(map(_is_plain, annotations)) or any(known.values()):
        annotations = [_plain_annotation(entry, read) for entry in annotations]
    return {
        **coco,
        "images": [_with_id(entry, read["images"]) for entry in coco["images"]],
        "annotations": annotations,
        "categories": [_with_id(entry, read["categories"]) for entry in coco["categories"]],
    }


def _numbering(entries: list) -> dict[str, int]:
    """{id as text: its number}; empty where whole numbers stay what they are."""
    ids = [entry.get("id") for entry in entries if isinstance(entry, dict)]
    if all(type(value) is int for value in ids):
        return {}
    usable = [value for value in ids if _key(value) is not None]
    numbers = [whole(value) for value in usable]
    if None not in numbers and len(set(numbers)) == len(set(map(_key, usable))):
        return {}
    return {key: i for i, key in enumerate(dict.fromkeys(map(_key, usable)), 1)}


def _key(value: Any) -> str | None:
    """What two entries that mean the same id have in common; None for what is no id."""
    if type(value) is float and whole(value) is not None:
        value = whole(value)
    if type(value) is int:
        return str(value) if whole(value) is not None else None
    return value if isinstance(value, str) and value else None


def _read_id(value: Any, table: dict[str, int]) -> Any:
    if not table:
        number = value if type(value) is int else whole(value)
        return value if number is None else number
    key = _key(value)
    return value if key is None else table.get(key, -1)  # no entry has -1: the owner is not there


def _with_id(entry: Any, read: Callable) -> Any:
    if not isinstance(entry, dict):
        return entry
    number = read(entry.get("id"))
    return entry if number is entry.get("id") else {**entry, "id": number, ORIGINAL: entry.get("id")}


def _is_plain(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("id")) is int
        and type(entry.get("image_id")) is int
        and type(entry.get("category_id")) is int
        and bool(entry.get("bbox"))
        and (entry.get("area") is None or type(entry["area"]) in (float, int) and abs(entry["area"]) < 1e300)
        and type(entry.get("iscrowd")) in (int, type(None))
    )


def _plain_annotation(entry: Any, read: dict[str, Callable]) -> Any:
    if not isinstance(entry, dict):
        return entry
    plain = _with_id(entry, read["annotations"])
    changed = {}
    for key, part in (("image_id", "images"), ("category_id", "categories")):
        if key in entry:
            changed[key] = read[part](entry[key])
    if not entry.get("bbox"):
        box = mask_box(entry.get("segmentation"))
        if box:
            changed["bbox"] = box
    if entry.get("area") is not None and (isinstance(entry["area"], str) or number(entry["area"]) is None):
        changed["area"] = None
    if type(entry.get("iscrowd")) not in (int, type(None)) and crowd_of(entry["iscrowd"]) is not None:
        changed["iscrowd"] = crowd_of(entry["iscrowd"])
    return {**plain, **changed}
