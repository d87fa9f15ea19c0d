"""Pascal VOC folders, one XML file a picture.

Notable: VOC counts pixels from 1 and both corners belong to the box, so that (xmin - 1, ymin - 1, xmax, ymax) are
corners that count from 0 with the end left out; detectron2 does the same. Objects marked `difficult` become crowd: not
trained on, and neither asked for nor held against a detector in the evaluation, as VOC's own evaluation and mmdetection
treat them (detectron2 trains on them: difficult="keep").
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from imbdet.data.datasets.cache import cached, signature
from imbdet.data.datasets.imported import Imported, add_annotation, empty_coco, pictures_by_stem, to_records
from imbdet.data.datasets.layout import checked_root, split_names
from imbdet.data.images import picture_sizes
from imbdet.data.records import Records


def voc_folder(
    root: str,
    split: str = "train",
    keep_empty: bool = True,
    classes: Sequence[str] | None = None,
    name: str = "",
    difficult: str = "ignore",
    one_based: bool = True,
) -> Records:
    """One split of a Pascal VOC folder.

    Args:
        root: has `Annotations`, `JPEGImages` and `ImageSets/Main/train.txt`; or `train/` with XML files and pictures
            side by side.
        split: "train", "val", "test", "trainval", or "all" for every XML file in `Annotations`.
        keep_empty: keep images without objects.
        classes: names in the order of the labels; default: all that occur in any split, sorted.
        name: what reports call this split; default: `split`.
        difficult: "ignore" makes objects marked difficult crowd, "keep" makes them plain objects.
        one_based: coordinates count from 1, as VOC's own; False for tools that count from 0.

    Raises:
        FileNotFoundError: no such folder or split.
        ValueError: XML that cannot be understood, named with its file.
    """
    if difficult not in ("ignore", "keep"):
        raise ValueError(f"difficult={difficult!r}: right is 'ignore' or 'keep'")
    source, files, _ = _find(root, split)
    classes = None if classes is None else tuple(classes)
    key = ("voc", signature(filter(os.path.isfile, [*files, source])), keep_empty, classes, name)

    def make() -> Records:
        return to_records(read_voc(root, split, difficult, one_based), keep_empty, name or split, classes)

    return cached((*key, split, difficult, one_based), make)


def read_voc(root: str, split: str, difficult: str = "ignore", one_based: bool = True) -> Imported:
    """The split as COCO ground truth, with the problems met; arguments as of `voc_folder`."""
    source, files, folder = _find(root, split)
    names = _class_names(root, files)
    result = Imported(source, folder, empty_coco(names))
    label = {name: i for i, name in enumerate(names)}
    pictures = pictures_by_stem(folder)
    for file in files:
        try:
            tree = ElementTree.parse(file).getroot()
        except (OSError, ElementTree.ParseError) as error:
            result.problems.append(f"{file}: {getattr(error, 'strerror', None) or error}")
            continue
        stem = os.path.splitext(os.path.basename(file))[0]
        picture = pictures.get(stem) or os.path.basename(tree.findtext("filename") or f"{stem}.jpg")
        size = _size(tree, os.path.join(folder, picture))
        if size is None:
            result.problems.append(f"{file}: no <size> with a width and height above 0, and no picture {picture!r}")
            continue
        image = {"id": len(result.coco["images"]) + 1, "file_name": picture, "width": size[0], "height": size[1]}
        result.coco["images"].append(image)
        for i, item in enumerate(tree.findall("object"), 1):
            try:
                corners = [float(item.findtext(f"bndbox/{key}").strip()) for key in ("xmin", "ymin", "xmax", "ymax")]
                which = label[(item.findtext("name") or "").strip()]
            except (AttributeError, ValueError, KeyError):
                result.problems.append(
                    f"{file}: object {i}: right is <name> and <bndbox> with the numbers <xmin> <ymin> <xmax> <ymax>"
                )
                continue
            left, top = (value - one_based for value in corners[:2])
            ignored = difficult == "ignore" and (item.findtext("difficult") or "0").strip() == "1"
            add_annotation(result.coco, which, (left, top, corners[2] - left, corners[3] - top), ignored)
    return result


def _find(root: str, split: str) -> tuple[str, list[str], str]:
    """(what the split was read from, its XML files, the folder of its pictures)."""
    root = _inner(checked_root(root))
    annotations, lists = os.path.join(root, "Annotations"), os.path.join(root, "ImageSets", "Main")
    if os.path.isdir(annotations):
        folder = os.path.join(root, "JPEGImages")
        folder = folder if os.path.isdir(folder) else os.path.join(root, "images")
        if split == "all":
            return annotations, _xml_files(annotations), folder
        for name in split_names(split):
            file = os.path.join(lists, f"{name}.txt")
            if os.path.isfile(file):
                with open(file, encoding="utf-8") as lines:
                    stems = [line.split()[0] for line in lines if line.strip()]
                return file, [os.path.join(annotations, f"{stem}.xml") for stem in stems], folder
    for name in split_names(split):
        beside = os.path.join(root, name)
        if os.path.isdir(os.path.join(beside, "Annotations")):
            return _find(beside, "all")
        if _xml_files(beside):
            return beside, _xml_files(beside), beside
    raise FileNotFoundError(
        f"{root}: no Pascal VOC split {split!r}. Looked for ImageSets/Main/{{split}}.txt beside Annotations, "
        f"{{split}}/*.xml and {{split}}/Annotations, with {{split}} = {' or '.join(split_names(split))}. "
        'split="all" takes every file in Annotations'
    )


def _inner(root: str) -> str:
    """VOCdevkit -> VOCdevkit/VOC2007, where there is one such folder."""
    if os.path.isdir(os.path.join(root, "VOCdevkit")):
        root = os.path.join(root, "VOCdevkit")
    years = [name for name in sorted(os.listdir(root)) if os.path.isdir(os.path.join(root, name, "Annotations"))]
    years = [name for name in years if name.upper().startswith("VOC")]
    if len(years) > 1:
        raise ValueError(f"{root}: has {', '.join(years)}; name one: data.root={os.path.join(root, years[0])}")
    return os.path.join(root, years[0]) if years else root


def _xml_files(folder: str) -> list[str]:
    if not os.path.isdir(folder):
        return []
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".xml")]


def _class_names(root: str, files: list[str]) -> list[str]:
    """Names of the objects in this split and in the others, sorted, so that all splits count labels alike."""
    folders = {os.path.dirname(file) for file in files}
    for folder in list(folders):
        parent = os.path.dirname(folder) if os.path.basename(folder) == "Annotations" else folder
        for sibling in os.listdir(os.path.dirname(parent) or "."):
            beside = os.path.join(os.path.dirname(parent), sibling)
            if any(sibling in split_names(known) for known in ("train", "val", "test")):
                folders |= {beside, os.path.join(beside, "Annotations")}
    every = sorted({file for folder in folders for file in _xml_files(folder)} | set(filter(os.path.isfile, files)))
    return list(cached(("voc classes", signature(every)), lambda: _names_in(every)))


def _names_in(files: list[str]) -> tuple[str, ...]:
    names = set()
    for file in files:
        try:
            names |= {(item.findtext("name") or "").strip() for item in ElementTree.parse(file).iter("object")}
        except ElementTree.ParseError:
            continue  # reported with its split
    return tuple(sorted(names - {""}))


def _size(tree: ElementTree.Element, picture: str) -> tuple[int, int] | None:
    try:
        size = int(float(tree.findtext("size/width"))), int(float(tree.findtext("size/height")))
    except (TypeError, ValueError):
        size = (0, 0)
    if min(size) > 0:
        return size
    sizes = picture_sizes(picture) if os.path.isfile(picture) else None
    return sizes[0] if sizes else None
