"""Checks of the picture files: there, readable to the last byte, of the size that the annotations say, each once.

Notable: pictures are decoded by a thread pool (decoding leaves Python's lock), and only files of equal length are
compared by content.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from imbdet.cores import usable_cores
from imbdet.data.images import NotOpened, picture_sizes, read_picture, refuse_special, refuse_too_large, verify
from imbdet.data.picture_names import PictureFinder, exists, leads_outside


@dataclass
class Picture:
    """One picture of an annotation file, and what was found about it.

    status: "" not looked at, "fine", "missing", "unreadable" or "truncated"; "outside" of the folder and "refused" (no
        regular file, too large) are not opened. `problem` says more.
    size, stored: (width, height) upright, and before the EXIF orientation; None where unreadable.
    digest: of the content, where another picture file has the same length.
    levels: (low, high) between which its decoded values lie, as of `levels`; None where it was not decoded.
    found: the name of its file in the folder, where that is not `name` (see `picture_names`).
    """

    name: str
    path: str
    image_id: Any = None
    found: str = ""
    status: str = ""
    problem: str = ""
    size: tuple[int, int] | None = None
    stored: tuple[int, int] | None = None
    digest: str = ""
    levels: tuple[int, int] | None = None


@dataclass
class PictureSet:
    """The pictures of one annotation file, by file name."""

    file: str
    folder: str
    pictures: dict[str, Picture] = field(default_factory=dict)


def pictures_of(coco: dict, file: str, folder: str) -> PictureSet:
    """Return the pictures that an annotation file (as plain objects) names, not yet looked at."""
    result = PictureSet(file, folder)
    entries = coco.get("images")
    for image in entries if isinstance(entries, list) else []:
        name = picture_name(image)
        if name:
            result.pictures.setdefault(name, Picture(name, os.path.join(folder, name), image.get("id")))
    return result


def picture_name(image) -> str:
    """Return the file name of an image entry, with / between folders; "" if it has none."""
    if not isinstance(image, dict):
        return ""
    name = image.get("file_name") or image.get("coco_url") or ""
    if isinstance(name, str) and not image.get("file_name"):
        name = "/".join(name.split("/")[-2:])
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
    for each in sets:
        _find_files(each)
    lengths = defaultdict(set)
    for picture in pictures:
        if not picture.status:
            lengths[os.path.getsize(picture.path)].add(os.path.realpath(picture.path))
    alike = {path for paths in lengths.values() if len(paths) > 1 for path in paths}
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        results = pool.map(lambda picture: _inspect(picture, alike, decode), pictures)
        for done, _ in enumerate(results, 1):
            if progress:
                progress(done, len(pictures))


def _inspect(picture: Picture, alike: set[str], decode: bool) -> None:
    if picture.status:
        return
    with_digest = os.path.realpath(picture.path) in alike
    try:
        refuse_special(picture.path)
        data = read_picture(picture.path) if decode or with_digest else None
    except NotOpened as error:
        picture.status, picture.problem = "refused", str(error)
        return
    except (OSError, ValueError) as error:
        picture.status, picture.problem = "unreadable", str(error)
        return
    if with_digest and data:
        picture.digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    sizes = picture_sizes(picture.path if data is None else data)
    picture.size, picture.stored = sizes or (None, None)
    try:
        if decode:
            picture.levels = levels(verify(data))
        elif sizes is None:
            raise ValueError("its header is that of no known picture format")
        else:
            refuse_too_large(sizes[0])
        picture.status = "fine"
    except NotOpened as error:
        picture.status, picture.problem = "refused", f"{picture.path}: {error}"
    except ValueError as error:
        picture.status, picture.problem = ("truncated" if sizes else "unreadable"), str(error)


def levels(image: Tensor) -> tuple[int, int]:
    """Return (low, high) of the channel that varies most, of a picture uint8 (3, H, W): 99.8 % of its values lie in
    there.
    """
    found = []
    for channel in image:
        counts = torch.bincount(channel.reshape(-1), minlength=256).cumsum(0)
        ends = torch.tensor([0.001, 0.999], dtype=torch.float64) * counts[-1]
        low, high = torch.searchsorted(counts.double(), ends).tolist()
        found.append((low, high))
    return max(found, key=lambda pair: pair[1] - pair[0])


def _find_files(pictures: PictureSet) -> None:
    """Mark what is missing or outside of the folder, after looking for it there by the last part of its name."""
    every = pictures.pictures.values()
    gone = [p for p in every if leads_outside(pictures.folder, p.name) or not exists(p.path)]
    finder = PictureFinder(pictures.folder, pictures.pictures) if gone else None
    for picture in gone:
        picture.found, picture.problem = finder.find(picture.name)
        path = os.path.join(pictures.folder, picture.found)
        if picture.found and exists(path):  # not a link that leads nowhere
            picture.path = path
        else:
            picture.found = ""
            picture.status = "outside" if exists(picture.path) else "missing"


def size_can_be_corrected(said: tuple[float, float], size: tuple[int, int], boxes: np.ndarray) -> bool:
    """Return whether the size in the file (NaN: none) may be replaced by the picture's without touching boxes (M, 4).

    Not where the picture is a scaled copy of what was annotated (same proportions, other size): then the boxes are to
    be scaled, or the original pictures brought back. Nor where a box would reach over the picture.
    """
    if not (0 < said[0] < np.inf and 0 < said[1] < np.inf):
        return True
    fits = (boxes[:, 0] + boxes[:, 2] <= size[0] + 1) & (boxes[:, 1] + boxes[:, 3] <= size[1] + 1)
    return bool(fits.all()) and abs(size[0] / said[0] / (size[1] / said[1]) - 1) > 0.02


def shared_pictures(sets: list[PictureSet]) -> Iterator[tuple[PictureSet, Picture, str]]:
    """Return pictures that are in more than one split, by path or by content: the second split, the picture, and in
    words.
    """
    for i, first in enumerate(sets):
        known = {key: picture for picture in first.pictures.values() for key in _keys(picture)}
        for second in sets[i + 1 :]:
            for picture in second.pictures.values():
                twin = next((known[key] for key in _keys(picture) if key in known), None)
                if twin:
                    yield second, picture, f"{picture.path} is {twin.path} of {first.file}"


def _keys(picture: Picture) -> list[str]:
    keys = [os.path.realpath(picture.path)] if picture.status != "missing" else []
    return keys + [picture.digest] if picture.digest else keys
