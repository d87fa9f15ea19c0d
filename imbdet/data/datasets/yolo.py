"""YOLO folders: one text file a picture, lines of `class cx cy width height` in fractions of the picture.

Notable: the sizes of the pictures are in no file, so that the header of every picture is read, once for as long as the
files stay the same. Lines of polygons (`class x y x y x y ...`) become the box around them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from imbdet.data.datasets.cache import cached, signature
from imbdet.data.datasets.imported import Imported, add_annotation, empty_coco, to_records
from imbdet.data.datasets.layout import checked_root, split_names
from imbdet.data.images import PICTURE_SUFFIXES, picture_sizes
from imbdet.data.records import Records

_YAML = ("data.yaml", "data.yml", "dataset.yaml")


def yolo_folder(
    root: str,
    split: str = "train",
    keep_empty: bool = True,
    classes: Sequence[str] | None = None,
    name: str = "",
) -> Records:
    """One split of a YOLO folder.

    Args:
        root: has `data.yaml` (names, train, val, test), or `images/train` with `labels/train`, or `train/images` with
            `train/labels`; without `data.yaml`, the names are in `classes.txt`.
        split: "train", "val", "test".
        keep_empty: keep pictures without a text file or with an empty one.
        classes: names in the order that labels shall count in; default: the folder's own.
        name: what reports call this split; default: `split`.

    Raises:
        FileNotFoundError: no such folder or split.
        ValueError: lines that cannot be understood, unknown classes, unreadable pictures, each named with its file.
    """
    source, pictures, description = _find(root, split)
    labels = [path for path in map(_label_file, pictures) if os.path.isfile(path)]
    classes = None if classes is None else tuple(classes)
    files = filter(os.path.isfile, [*pictures, *labels, description])

    def make() -> Records:
        return to_records(read_yolo(root, split), keep_empty, name or split, classes)

    return cached(("yolo", source, signature(files), keep_empty, classes, name, split), make)


def read_yolo(root: str, split: str) -> Imported:
    """The split as COCO ground truth, with the problems met; arguments as of `yolo_folder`."""
    source, pictures, description = _find(root, split)
    names = _class_names(checked_root(root), description)
    folder = os.path.commonpath([os.path.dirname(path) for path in pictures])
    result = Imported(source, folder, empty_coco(names))
    for path in pictures:
        sizes = picture_sizes(path)
        if sizes is None:
            result.problems.append(f"{path}: not readable as a picture, and its size is needed to read its labels")
            continue
        (width, height), _ = sizes
        name = os.path.relpath(path, folder)
        image = {"id": len(result.coco["images"]) + 1, "file_name": name, "width": width, "height": height}
        result.coco["images"].append(image)
        labels = _label_file(path)
        if not os.path.isfile(labels):
            continue
        with open(labels, encoding="utf-8", errors="replace") as lines:
            for i, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    label, box = _parse(line, len(names))
                except ValueError as error:
                    result.problems.append(f"{labels}, line {i}: {line.strip()[:60]!r}: {error}")
                    continue
                cx, cy, w, h = box
                xywh = ((cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height)
                add_annotation(result.coco, label, xywh)
    return result


def _parse(line: str, num_classes: int) -> tuple[int, tuple[float, float, float, float]]:
    parts = line.split()
    try:
        values = [float(part) for part in parts]
    except ValueError:
        raise ValueError("right are numbers: class cx cy width height") from None
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise ValueError(f"{len(values)} numbers; right are five: class cx cy width height, or class and a polygon")
    label = int(values[0])
    if label != values[0] or not 0 <= label < num_classes:
        raise ValueError(f"class {parts[0]}; right is a whole number in 0..{num_classes - 1}")
    if any(value > 2 for value in values[1:]):
        raise ValueError("the numbers are to be fractions of the picture (0..1), not pixels")
    if len(values) == 5:
        return label, tuple(values[1:])
    x, y = values[1::2], values[2::2]
    return label, ((min(x) + max(x)) / 2, (min(y) + max(y)) / 2, max(x) - min(x), max(y) - min(y))


def _find(root: str, split: str) -> tuple[str, list[str], str]:
    """(what the split was read from, its pictures, data.yaml or "")."""
    root = checked_root(root)
    description = next((path for path in (os.path.join(root, name) for name in _YAML) if os.path.isfile(path)), "")
    candidates = []
    content = _read_yaml(description) if description else {}
    for name in split_names(split):
        entries = content.get(name) or []
        found = []
        for entry in [entries] if isinstance(entries, str) else entries:
            places = _resolve(entry, root, content.get("path"))
            candidates += places
            found.append(next(filter(None, map(_pictures, places)), []))
        if any(found):
            return f"{description} ({name})", [path for pictures in found for path in pictures], description
    for name in split_names(split):
        candidates += [os.path.join(root, "images", name), os.path.join(root, name, "images"), os.path.join(root, name)]
    for place in candidates:
        pictures = _pictures(place)
        if pictures:
            return place, pictures, description
    raise FileNotFoundError(
        f"{root}: no pictures of YOLO split {split!r}. Looked in: {', '.join(dict.fromkeys(candidates))}"
    )


def _resolve(entry: str, root: str, base) -> list[str]:
    """Where an entry of data.yaml may point: such files are often moved, and written for another working folder."""
    bases = [root, os.path.join(root, base) if isinstance(base, str) else root]
    without_dots = entry.replace("\\", "/")
    while without_dots.startswith(("../", "./")):
        without_dots = without_dots.split("/", 1)[1]
    return [os.path.normpath(os.path.join(b, e)) for e in (entry, without_dots) for b in bases]


def _pictures(place: str) -> list[str]:
    if os.path.isdir(place):
        found = [os.path.join(folder, name) for folder, _, names in os.walk(place) for name in names]
        return sorted(path for path in found if path.lower().endswith(PICTURE_SUFFIXES))
    if os.path.isfile(place) and place.endswith(".txt"):
        with open(place, encoding="utf-8") as lines:
            names = [line.strip() for line in lines if line.strip()]
        return [os.path.normpath(os.path.join(os.path.dirname(place), name)) for name in names]
    return []


def _label_file(picture: str) -> str:
    """Ultralytics' rule: the last folder called images becomes labels; where there is none, beside the picture."""
    before, found, after = picture.rpartition(f"{os.sep}images{os.sep}")
    beside = os.path.splitext(picture)[0] + ".txt"
    return f"{before}{os.sep}labels{os.sep}{os.path.splitext(after)[0]}.txt" if found else beside


def _read_yaml(path: str) -> dict:
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: right is a mapping with names, train, val")
    return content


def _class_names(root: str, description: str) -> list[str]:
    if description:
        names = _read_yaml(description).get("names")
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names, key=int)]
        if not isinstance(names, list) or not names:
            raise ValueError(f"{description}: lacks `names`: a list of class names, or a mapping from 0.. to them")
        return [str(name) for name in names]
    for folder in ("", "labels"):
        path = os.path.join(root, folder, "classes.txt")
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as lines:
                return [line.strip() for line in lines if line.strip()]
    raise FileNotFoundError(f"{root}: the names of the classes are in none of {', '.join(_YAML)}, classes.txt")
