"""Checks of the picture files: there, readable to the last byte, of the size that the annotations say, each once.

Notable: pictures are decoded by a thread pool (decoding leaves Python's lock), and only files of equal length are
compared by content.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from imbdet.data.checks.annotations import box_of, number, whole
from imbdet.data.checks.findings import Findings
from imbdet.data.images import picture_sizes, verify


@dataclass
class Picture:
    """One picture of an annotation file, and what was found about it.

    status: "" not looked at, "fine", "missing", "unreadable" or "truncated"; `problem` says more.
    size, stored: (width, height) upright, and before the EXIF orientation; None where unreadable.
    digest: of the content, where another picture file has the same length.
    """

    name: str
    path: str
    image_id: int | None
    said: tuple[float | None, float | None]
    status: str = ""
    problem: str = ""
    size: tuple[int, int] | None = None
    stored: tuple[int, int] | None = None
    digest: str = ""


@dataclass
class PictureSet:
    """The pictures of one annotation file, by file name."""

    file: str
    folder: str
    pictures: dict[str, Picture] = field(default_factory=dict)


def pictures_of(coco: dict, file: str, folder: str) -> PictureSet:
    """The pictures that an annotation file (as plain objects) names, not yet looked at."""
    result = PictureSet(file, folder)
    entries = coco.get("images")
    for image in entries if isinstance(entries, list) else []:
        name = picture_name(image)
        if name:
            said = number(image.get("width")), number(image.get("height"))
            path = os.path.join(folder, name)
            result.pictures.setdefault(name, Picture(name, path, whole(image.get("id")), said))
    return result


def picture_name(image) -> str:
    """The file name of an image entry, with / between folders; "" if it has none."""
    if not isinstance(image, dict):
        return ""
    name = image.get("file_name") or "/".join(str(image.get("coco_url") or "").split("/")[-2:])
    name = name if isinstance(name, str) else ""
    return name.replace("\\", "/") if os.sep == "/" else name


def inspect_pictures(
    sets: list[PictureSet], decode: bool = True, progress: Callable[[int, int], None] | None = None
) -> None:
    """Look at every file and fill in what is found.

    Args:
        sets: the pictures of all splits.
        decode: read every picture to its end; False: headers only.
        progress: called with (done, all) after each picture.
    """
    pictures = [picture for pictures in sets for picture in pictures.pictures.values()]
    lengths = defaultdict(set)
    for picture in pictures:
        try:
            lengths[os.path.getsize(picture.path)].add(os.path.realpath(picture.path))
        except OSError:
            picture.status = "missing"
    alike = {path for paths in lengths.values() if len(paths) > 1 for path in paths}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        results = pool.map(lambda picture: _inspect(picture, os.path.realpath(picture.path) in alike, decode), pictures)
        for done, _ in enumerate(results, 1):
            if progress:
                progress(done, len(pictures))


def _inspect(picture: Picture, with_digest: bool, decode: bool) -> None:
    if picture.status == "missing":
        return
    try:
        if decode or with_digest:
            with open(picture.path, "rb") as file:
                data = file.read()
        else:
            data = None
    except OSError as error:
        picture.status, picture.problem = "unreadable", error.strerror or str(error)
        return
    if with_digest and data:
        picture.digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    sizes = picture_sizes(picture.path if data is None else data)
    picture.size, picture.stored = sizes or (None, None)
    try:
        if decode:
            verify(data)
        elif sizes is None:
            raise ValueError("its header is that of no known picture format")
        picture.status = "fine"
    except ValueError as error:
        picture.status, picture.problem = ("truncated" if sizes else "unreadable"), str(error)


def report_pictures(pictures: PictureSet, coco: dict, findings: Findings) -> None:
    """Add what `inspect_pictures` found in one split."""
    owners: dict[str, Picture] = {}
    differs = any(picture.size and picture.size != picture.said for picture in pictures.pictures.values())
    boxes = boxes_by_image(coco) if differs else {}
    for picture in pictures.pictures.values():
        where = dict(image_id=picture.image_id)
        if picture.status in ("missing", "unreadable"):
            value = picture.path + (f": {picture.problem}" if picture.problem else "")
            findings.add(f"picture_{picture.status}", pictures.file, value, **where)
            continue
        if picture.status == "truncated":
            findings.add("picture_truncated", pictures.file, f"{picture.path}: {picture.problem}", **where)
        if picture.size and picture.size != picture.said:
            _report_size(picture, pictures.file, boxes.get(picture.image_id, []), findings)
        if picture.digest:
            first = owners.setdefault(picture.digest, picture)
            if first is not picture:
                findings.add("picture_repeated", pictures.file, f"{picture.name} is {first.name}", **where)


def _report_size(picture: Picture, file: str, boxes: list[list[float]], findings: Findings) -> None:
    width, height = picture.size
    said = "x".join("nothing" if value is None else f"{value:g}" for value in picture.said)
    value = f"{picture.name}: the file says {said}, the picture is {width}x{height}"
    if picture.stored == picture.said and picture.stored != picture.size:
        findings.add("size_turned", file, value, image_id=picture.image_id)
        return
    fixable = size_can_be_corrected(picture, boxes)
    right = (
        "" if fixable else f"{width}x{height}, and boxes that fit it: were the pictures resized without their boxes?"
    )
    findings.add("size_differs", file, value, image_id=picture.image_id, right=right, fixable=fixable)


def size_can_be_corrected(picture: Picture, boxes: list[list[float]]) -> bool:
    """Whether the size in the file may be replaced by the picture's without touching boxes.

    Not where the picture is a scaled copy of what was annotated (same proportions, other size): then the boxes are to
    be scaled, or the original pictures brought back. Nor where a box would reach over the picture.
    """
    if picture.size is None or picture.stored == picture.said != picture.size:
        return False
    width, height = picture.said
    if not width or not height or width < 0 or height < 0:
        return True
    scale_x, scale_y = picture.size[0] / width, picture.size[1] / height
    fits = all(box[0] + box[2] <= picture.size[0] + 1 and box[1] + box[3] <= picture.size[1] + 1 for box in boxes)
    return fits and abs(scale_x / scale_y - 1) > 0.02


def boxes_by_image(coco: dict) -> dict[int | None, list[list[float]]]:
    """The boxes of each image id."""
    boxes = defaultdict(list)
    entries = coco.get("annotations")
    for annotation in entries if isinstance(entries, list) else []:
        box = box_of(annotation) if isinstance(annotation, dict) else None
        if box:
            boxes[whole(annotation.get("image_id"))].append(box)
    return boxes


def report_shared_pictures(sets: list[PictureSet], findings: Findings) -> None:
    """Add pictures that are in more than one split, by path or by content."""
    for i, first in enumerate(sets):
        known = {key: picture for picture in first.pictures.values() for key in _keys(picture)}
        for second in sets[i + 1 :]:
            for picture in second.pictures.values():
                twin = next((known[key] for key in _keys(picture) if key in known), None)
                if twin:
                    value = f"{picture.path} is {twin.path} of {first.file}"
                    findings.add("same_picture", second.file, value, image_id=picture.image_id)


def _keys(picture: Picture) -> list[str]:
    keys = [os.path.realpath(picture.path)] if picture.status != "missing" else []
    return keys + [picture.digest] if picture.digest else keys
