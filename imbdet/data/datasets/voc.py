"""Pascal VOC folders, one XML file a picture.

Notable: VOC counts pixels from 1 and both corners belong to the box, so that (xmin - 1, ymin - 1, xmax, ymax) are
corners that count from 0 with the end left out; detectron2 does the same. Objects marked `difficult` become crowd: not
trained on, and neither asked for nor held against a detector in the evaluation, as VOC's own evaluation and mmdetection
treat them (detectron2 trains on them: difficult="keep").
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from imbdet.data.datasets.cache import cached, signature
from imbdet.data.datasets.imported import Imported, add_annotation, empty_coco, pictures_by_stem, to_records
from imbdet.data.datasets.layout import checked_root, split_names
from imbdet.data.datasets.text import read_lines
from imbdet.data.images import PICTURE_SUFFIXES, picture_sizes
from imbdet.data.picture_names import leads_outside
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
    """Return one split of a Pascal VOC folder.

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
        raise ValueError(f"difficult={difficult!r}: expected 'ignore' or 'keep'")
    source, files, _ = _find(root, split)
    classes = None if classes is None else tuple(classes)
    key = ("voc", signature(filter(os.path.isfile, [*files, source])), keep_empty, classes, name)

    def make() -> Records:
        return to_records(read_voc(root, split, difficult, one_based), keep_empty, name or split, classes)

    return cached((*key, split, difficult, one_based), make)


def read_voc(root: str, split: str, difficult: str = "ignore", one_based: bool = True) -> Imported:
    """Return the split as COCO ground truth, with the problems met; arguments as of `voc_folder`."""
    source, files, folder = _find(root, split)
    names = _class_names(root, files)
    result = Imported(source, folder, empty_coco(names))
    label = {name: i for i, name in enumerate(names)}
    pictures = pictures_by_stem(folder)
    for file in files:
        try:
            tree = _parse(file)
        except ValueError as error:
            result.problems.append(str(error))
            continue
        stem = os.path.splitext(os.path.basename(file))[0]
        said = (tree.findtext("filename") or "").strip().replace("\\", "/")
        picture = pictures.get(stem) or os.path.basename(said) or f"{stem}.jpg"
        size = _size(tree, os.path.join(folder, picture))
        if size is None:
            result.problems.append(f"{file}: no <size> with a width and height above 0, and no picture {picture!r}")
            continue
        image = {"id": len(result.coco["images"]) + 1, "file_name": picture, "width": size[0], "height": size[1]}
        result.coco["images"].append(image)
        for i, item in enumerate(tree.findall("object"), 1):
            try:
                which = label[_text(item, "name")]
                box = _only(item, "bndbox")
                corners = [_number(box, key) for key in ("xmin", "ymin", "xmax", "ymax")]
            except ValueError as error:
                result.problems.append(
                    f"{file}: object {i}: {error}; expected <name> and <bndbox> with the numbers <xmin> <ymin> <xmax> "
                    "<ymax>, each once"
                )
                continue
            left, top = (value - one_based for value in corners[:2])
            flag = (item.findtext("difficult") or "0").strip().lower()
            ignored = difficult == "ignore" and flag in ("1", "true", "yes")
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
                return file, _listed_files(file, annotations), folder
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
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.lower().endswith(".xml")]
    return [path for path in paths if os.path.isfile(path)]


def _listed_files(file: str, annotations: str) -> list[str]:
    """The XML files of a list in ImageSets/Main, each once.

    A line is a name, which may hold spaces and end in a number; or, in the lists of one class (cat_train.txt), a name
    and a flag: -1 without the class, 0 difficult, 1 with it. Which of both is told by what is in `annotations`. Flags
    choose nothing: all pictures of such a list are taken.

    Raises:
        ValueError: the file is no text, or both readings are as good.
    """
    lines = [line for line in read_lines(file) if line]
    plain = [_xml_of(line, annotations) for line in lines]
    matches = [re.fullmatch(r"(.*\S)\s+(-1|0|\+?1)", line) for line in lines]
    if lines and all(matches):
        flagged = [_xml_of(match.group(1), annotations) for match in matches]
        hits, hits_flagged = (sum(map(os.path.isfile, paths)) for paths in (plain, flagged))
        if hits == hits_flagged > 0:
            raise ValueError(
                f"{file}: {lines[0]!r} is the picture {lines[0]!r}, or {matches[0].group(1)!r} with a flag: "
                "over all lines, as many XML files are there for one reading as for the other. Rename "
                "the pictures of one of them"
            )
        if hits_flagged > hits or (not hits and any(match.group(2) == "-1" for match in matches)):
            plain = flagged
    return list(dict.fromkeys(plain))


def _xml_of(name: str, annotations: str) -> str:
    """The XML file of a name; one that is written with a folder or an ending is taken without, where that is there."""
    path = os.path.join(annotations, f"{name}.xml")
    outside = leads_outside(annotations, name)
    last = name.replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext(last)
    for other in (last, stem) if suffix.lower() in (*PICTURE_SUFFIXES, ".xml") else (last,):
        shorter = os.path.join(annotations, f"{other}.xml")
        if outside or (not os.path.isfile(path) and os.path.isfile(shorter)):
            return shorter
    return path


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
            names |= {(item.findtext("name") or "").strip() for item in _parse(file).iter("object")}
        except ValueError:
            continue  # reported with its split
    return tuple(sorted(names - {""}))


def _parse(file: str) -> ElementTree.Element:
    """The root of an XML file, in any encoding that it declares, with or without a byte order mark.

    Raises:
        ValueError: it cannot be read, is no regular file, or no XML.
    """
    if os.path.exists(file) and not os.path.isfile(file):
        raise ValueError(f"{file}: is not a regular file")
    try:
        return ElementTree.parse(file).getroot()
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    except (ElementTree.ParseError, LookupError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: is no XML: {error}") from None


def _only(element: ElementTree.Element, key: str) -> ElementTree.Element:
    """The child of this name. Raises ValueError if there is none, or more than one."""
    found = element.findall(key)
    if len(found) != 1:
        raise ValueError(f"{len(found) or 'no'} <{key}>")
    return found[0]


def _text(element: ElementTree.Element, key: str) -> str:
    text = (_only(element, key).text or "").strip()
    if not text:
        raise ValueError(f"<{key}> is empty")
    return text


def _number(element: ElementTree.Element, key: str) -> float:
    text = _text(element, key)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"<{key}> is {text[:40]!r}") from None


def _size(tree: ElementTree.Element, picture: str) -> tuple[int, int] | None:
    """(width, height) as the file says, or, where it does not say it once and well, of the picture."""
    try:
        found = _only(tree, "size")
        size = int(_number(found, "width")), int(_number(found, "height"))
    except (ValueError, OverflowError):
        size = (0, 0)
    if min(size) > 0:
        return size
    sizes = picture_sizes(picture) if os.path.isfile(picture) else None
    return sizes[0] if sizes else None
