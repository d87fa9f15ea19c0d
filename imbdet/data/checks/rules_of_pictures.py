"""Rules of pictures: whether they are there, can be read, and have the size that the file says."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from imbdet.data.checks.pictures import size_can_be_corrected
from imbdet.data.checks.rule import ERROR, INFO, WARNING, rule
from imbdet.data.checks.table import Columns, FileTable, Hit

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
