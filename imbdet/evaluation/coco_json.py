"""COCO files as typed rows: what a ground truth and a results file must hold, read by msgspec.

Notable: an error names the file, the place (`$.annotations[3].bbox`) and what was expected. `NaN` and `Infinity`,
which Python's json module writes although JSON knows no such thing, are let through here, so that the check of values
can name their row. An id may be written as 12.0, as numpy and Matlab exporters do, or be text; what a ground truth
leaves to be understood (text ids, masks without boxes) is understood as training does, by `datasets/coco_plain.py`.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from ..data.datasets.coco_plain import ORIGINAL, parse_json, understand

Number = int | float
Box = tuple[float, float, float, float]


class Image(msgspec.Struct, gc=False):
    id: Number
    width: Number | None = None
    height: Number | None = None
    file_name: str | None = None
    original: Number | str | None = msgspec.field(default=None, name=ORIGINAL)


class Category(msgspec.Struct, gc=False):
    id: Number
    name: str | None = None
    original: Number | str | None = msgspec.field(default=None, name=ORIGINAL)


class Annotation(msgspec.Struct, gc=False):
    image_id: Number
    category_id: Number
    bbox: Box
    id: Number | None = None
    area: float | None = None
    iscrowd: bool | Number | None = None
    ignore: bool | Number | None = None


class GroundTruthFile(msgspec.Struct, gc=False):
    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


class ResultRow(msgspec.Struct, gc=False):
    image_id: Number | str
    category_id: Number | str
    bbox: Box
    score: float


def read_ground_truth(source: str | Path | dict) -> tuple[GroundTruthFile, str]:
    """Return a ground truth from a file, or from the dict that `json.load` gives; with the name for messages.

    Raises:
        ValueError: not COCO ground truth; the message names the place. FileNotFoundError: no such file.
    """
    expected = "a COCO ground truth is an object with the lists images, annotations and categories"
    return _read(source, GroundTruthFile, expected, "the ground truth")


def read_results(source: str | Path | list) -> tuple[list[ResultRow], str]:
    """Return the rows of a COCO results file, or of the list that `json.load` gives; with the name for messages.

    Raises:
        ValueError: not a list of rows with image_id, category_id, bbox and score; the message names the place.
        FileNotFoundError: no such file.
    """
    expected = 'COCO results are a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}'
    return _read(source, list[ResultRow], expected, "the results")


def _read(source: Any, kind: Any, expected: str, what: str) -> tuple[Any, str]:
    """`source` checked against `kind`; see the two callers."""
    try:
        if isinstance(source, (str, Path)):
            what = str(source)
            return _decode(Path(source).read_bytes(), kind, what), what
        return _convert(source, kind), what
    except msgspec.ValidationError as error:
        raise ValueError(f"{what}: {error}{_place(error)}. {expected}{_swapped(source, kind, error)}") from error
    except OverflowError as error:
        raise ValueError(f"{what}: a number is too large. {expected}") from error


def _decode(data: bytes, kind: Any, name: str) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _convert(parse_json(data, name)[0], kind)


def _convert(value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        # Once more with numpy's and torch's scalars and arrays as plain numbers, if there are any.
        try:
            plain = json.loads(json.dumps(value, default=_plain))
        except (TypeError, ValueError, AttributeError, RecursionError):
            plain = value
        return msgspec.convert(understand(plain) if kind is GroundTruthFile else plain, kind)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value.item()


def _place(error: Exception) -> str:
    return "" if "`$" in str(error) else " - at the top of the file"


def _swapped(source: Any, kind: Any, error: Exception) -> str:
    if not isinstance(source, (str, Path)) and not isinstance(source, (list, dict)):
        return f"; this is a {type(source).__name__}"
    if kind is GroundTruthFile and "got `array`" in str(error) and "`$" not in str(error):
        return "; this is a list: are ground truth and results swapped?"
    if kind is not GroundTruthFile and "got `object`" in str(error) and "`$" not in str(error):
        return "; this is an object: is it the ground truth, or are the results under one of its keys?"
    return ""
