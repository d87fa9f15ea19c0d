"""YOLO folders: one text file a picture, lines of `class cx cy width height` in fractions of the picture.

Notable: the sizes of the pictures are in no file, so that the header of every picture is read, once for as long as the
files stay the same. Which dialects are read stands in docs/data.md; `yolo_layout` finds the parts of a folder,
`yolo_labels` reads the lines.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from imbdet.data.datasets.cache import cached, signature
from imbdet.data.datasets.imported import Imported, add_annotation, empty_coco, to_records
from imbdet.data.datasets.layout import checked_root
from imbdet.data.datasets.text import read_lines
from imbdet.data.datasets.yolo_labels import LineReader
from imbdet.data.datasets.yolo_layout import class_names, describe, find_split, key_points, label_file
from imbdet.data.images import picture_sizes
from imbdet.data.records import Records


def yolo_folder(
    root: str,
    split: str = "train",
    keep_empty: bool = True,
    classes: Sequence[str] | None = None,
    name: str = "",
) -> Records:
    """Return one split of a YOLO folder.

    Args:
        root: has `data.yaml` (names, train, val, test), Darknet's `obj.data`, or `images/train` with `labels/train`, or
            `train/images` with `train/labels`; without `data.yaml`, the names are in `classes.txt`.
        split: "train", "val", "test".
        keep_empty: keep pictures without a text file or with an empty one.
        classes: names in the order that labels shall count in; default: the folder's own.
        name: what reports call this split; default: `split`.

    Raises:
        FileNotFoundError: no such folder or split.
        ValueError: lines that cannot be understood, unknown classes, unreadable pictures, each named with its file.
    """
    root = checked_root(root)
    description = describe(root)
    source, pictures, _ = find_split(root, split, description)
    labels = [path for path in map(label_file, pictures) if os.path.isfile(path)]
    classes = None if classes is None else tuple(classes)
    names = class_names(root, description)
    files = filter(os.path.isfile, [*pictures, *labels, description.file])

    def make() -> Records:
        return to_records(read_yolo(root, split), keep_empty, name or split, classes)

    key = ("yolo", source, signature(files), tuple(names.items()), keep_empty, classes, name, split)
    return cached(key, make)


def read_yolo(root: str, split: str) -> Imported:
    """Return the split as COCO ground truth, with the problems met; arguments as of `yolo_folder`."""
    root = checked_root(root)
    description = describe(root)
    source, pictures, lost = find_split(root, split, description)
    names = class_names(root, description)
    reader = LineReader(names, key_points(description))
    folder = os.path.commonpath([os.path.dirname(path) for path in pictures]) if pictures else root
    result = Imported(source, folder, empty_coco(names.values()), problems=lost)
    for path in pictures:
        sizes = picture_sizes(path)
        if sizes is None:
            result.problems.append(f"{path}: not readable as a picture, and its size is needed to read its labels")
            continue
        name = os.path.relpath(path, folder)
        image = {"id": len(result.coco["images"]) + 1, "file_name": name, "width": sizes[0][0], "height": sizes[0][1]}
        result.coco["images"].append(image)
        labels = label_file(path)
        if os.path.lexists(labels):
            _read_labels(labels, reader, result)
    doubt = reader.doubt()
    if doubt:
        result.problems.append(f"{source}: {doubt}")
    return result


def _read_labels(path: str, reader: LineReader, result: Imported) -> None:
    """Add the boxes of one file to the image that was appended last."""
    try:
        lines = read_lines(path)
    except ValueError as error:
        result.problems.append(str(error))
        return
    width, height = result.coco["images"][-1]["width"], result.coco["images"][-1]["height"]
    for i, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            label, (cx, cy, w, h) = reader.read(line)
        except ValueError as error:
            result.problems.append(f"{path}, line {i}: {line[:60]!r}: {error}")
            continue
        add_annotation(result.coco, label, ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height))
