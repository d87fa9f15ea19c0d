"""What a COCO file says besides boxes and classes (masks, licenses, attributes), so that the output keeps it.

Notable: values are kept as the bytes of the file (`msgspec.Raw`) and never built up as objects, as masks are most of
a file. Other formats have nothing besides.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from ..data.datasets.coco_plain import parse_json
from ..data.records import Records
from .pool import Pool

_OURS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "file_name", "height", "width", "name")


class _Content(msgspec.Struct):
    images: list[dict[str, msgspec.Raw]]
    annotations: list[dict[str, msgspec.Raw]]
    categories: list[dict[str, msgspec.Raw]]
    info: msgspec.Raw = msgspec.Raw(b"null")
    licenses: msgspec.Raw = msgspec.Raw(b"null")


class _File:
    def __init__(self, records: Records):
        content = _read(records.source)
        self.info = msgspec.json.decode(content.info)
        self.licenses = msgspec.json.decode(content.licenses)
        self.images = _by_id(content.images)
        self.annotations = _by_id(content.annotations)
        self.categories = _by_id(content.categories)


class Originals:
    """The input's files, each read when it is first asked for."""

    def __init__(self, pool: Pool):
        self._pool = pool
        self._parts = list(pool.splits.values())

    @cached_property
    def files(self) -> list[_File]:
        """One a split."""
        return [_File(part) for part in self._parts]

    def image_fields(self, image: int) -> dict[str, Any]:
        """Return what the file says of an image of the pool, besides the usual keys, as plain values."""
        raw = self.image(image)
        return {key: msgspec.json.decode(value) for key, value in raw.items()}

    def image(self, image: int) -> dict[str, msgspec.Raw]:
        """Return the same as raw JSON."""
        file = self.files[int(self._pool.split[image])]
        return file.images.get(msgspec.json.encode(self._pool.image_key(image)), {})

    def annotation(self, index: int) -> dict[str, msgspec.Raw]:
        """Return what the file says of an object of the pool, besides the usual keys, as raw JSON."""
        image = int(self._pool.records.object_image[index])
        split = int(self._pool.split[image])
        return self.files[split].annotations.get(msgspec.json.encode(int(self.annotation_ids[index])), {})

    @cached_property
    def annotation_ids(self) -> np.ndarray:
        """int64 (M,): the id of each object of the pool in its file."""
        return np.concatenate([part.annotation_ids for part in self._parts])

    def category(self, category_id: int) -> dict[str, msgspec.Raw]:
        """Return the same of a class of the first split."""
        return self.files[0].categories.get(msgspec.json.encode(category_id), {})


def _read(path: str) -> _Content:
    nothing = _Content([], [], [])
    if not path.lower().endswith(".json") or not os.path.isfile(path):
        return nothing
    with open(path, "rb") as file:
        data = file.read().removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(data, type=_Content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:  # NaN, or a dialect: what it says besides is read where it is like COCO's
        plain, _ = parse_json(data, path)
        return msgspec.json.decode(msgspec.json.encode(plain), type=_Content)
    except (ValueError, TypeError, msgspec.MsgspecError):
        return nothing


def _by_id(entries: list[dict[str, msgspec.Raw]]) -> dict[bytes, dict[str, msgspec.Raw]]:
    found: dict[bytes, dict[str, msgspec.Raw]] = {}
    twice = set()
    for entry in entries:
        key = bytes(entry.get("id", b""))
        if key in found:
            twice.add(key)
        found[key] = {name: value for name, value in entry.items() if name not in _OURS}
    return {key: value for key, value in found.items() if key not in twice}
