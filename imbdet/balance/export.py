"""Write a balanced data set as a folder: COCO, YOLO or Pascal VOC, which our own readers read again.

    OUT/balance.json                                        how it came about, and both tables
    COCO: OUT/annotations/instances_train.json, OUT/images/train/...
    YOLO: OUT/data.yaml, OUT/labels/train/..., OUT/images/train/...
    VOC:  OUT/Annotations, OUT/ImageSets/Main/train.txt, OUT/JPEGImages
    folds: OUT/fold1/..., each a data set of its own

A repeated image is an image of its own: it has a new id, its boxes have new ids, and its picture is linked or copied
once more under a new name (`a-repeat2.jpg`), so left in place none may be repeated. `source_image_id` leads back to the
input. Everything is written to a hidden folder beside OUT, which is renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path, PurePosixPath

from ..data.datasets.folder import detect_format
from ..data.picture_names import leads_outside
from ..data.records import Records
from ..write import sync_folder, write_json, writing
from .formats import write_coco, write_voc, write_yolo
from .options import FORMATS, PICTURES
from .pool import known
from .provenance import Provenance, final_records

WRITERS = {"coco": write_coco, "yolo": write_yolo, "voc": write_voc}
REPORT = "balance.json"


def write(
    provenance: Provenance,
    out: str | os.PathLike,
    format: str = "same",
    pictures: str = "link",
    overwrite: bool = False,
) -> Path:
    """Write the folder and return its path.

    Args:
        out: a folder that is not there, or empty.
        format: "coco", "yolo", "voc", or "same" as the input's.
        pictures: "link" (symbolic links), "copy", or "in-place": COCO only, the folder of the input is linked.
        overwrite: replace a folder that `balance` wrote.

    Raises:
        ValueError: the folder is in use, in the input, or around it; the format cannot do what is asked.
        FileNotFoundError: a picture is missing. OSError: it cannot be written; nothing is left of it.
    """
    out = Path(out)
    known(format, FORMATS, "format")
    known(pictures, PICTURES, "way to place pictures")
    format = format if format != "same" else _format_of(provenance)
    if pictures == "in-place" and format != "coco":
        raise ValueError(f"pictures=in-place: {format} ties labels to the place of the picture; take link or copy")
    check_out(out, provenance, overwrite)
    records = final_records(provenance.balanced)
    with _whole_folder(out, overwrite) as folder:
        for base, parts in _by_folder(records).items():
            places = _placed(provenance, parts, folder / base, format, pictures)
            WRITERS[format](provenance, parts, places, folder / base)
        write_json(folder / REPORT, {**provenance.to_dict(), "format": format, "pictures": pictures})
    return out


def check_out(out: Path, provenance: Provenance, overwrite: bool) -> None:
    """Raise ValueError if nothing may be written there."""
    real = out.expanduser().resolve()
    given = [Path(path).expanduser() for path in provenance.balanced.places]
    for part in provenance.balanced.work.pool.splits.values():
        root = getattr(getattr(part.images, "source", part.images), "root", None)
        given += [Path(str(part.source).partition(" (")[0]), *([Path(root)] if root else [])]
    for place in (path.resolve() for path in given if str(path) and path.exists()):
        if real == place or real in place.parents:
            raise ValueError(f"{out}: holds the input ({place}), which is never written to; name another folder")
    for place in (path.resolve() for path in map(Path, provenance.balanced.places) if path.is_dir()):
        if place in real.parents:
            raise ValueError(f"{out}: is inside of the input ({place}), which is never written to")
    if out.is_file():
        raise ValueError(f"{out}: is a file; name a folder")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise ValueError(f"{out}: exists and is not empty; name another folder, or add --overwrite")
        if not (out / REPORT).is_file():
            raise ValueError(f"{out}: has no {REPORT}, so imbdet balance did not write it, and it is not overwritten")


def _format_of(provenance: Provenance) -> str:
    part = next(iter(provenance.balanced.work.pool.splits.values()))
    source = str(part.source).partition(" (")[0]
    if source.lower().endswith(".json") or not os.path.exists(source):
        return "coco"
    for folder in (Path(source), *Path(source).parents[:3]):
        if folder.is_dir():
            found = detect_format(str(folder), part.name or "train")
            if found != "coco":
                return found
    return "coco"


def _by_folder(records: dict[str, Records]) -> dict[str, dict[str, Records]]:
    """{"" or "fold1": {"train": Records}}."""
    found: dict[str, dict[str, Records]] = {}
    for part, one in records.items():
        base, _, name = part.rpartition("/")
        found.setdefault(base, {})[name] = one
    return found


def _placed(
    provenance: Provenance, parts: dict[str, Records], base: Path, format: str, pictures: str
) -> dict[str, list[str]]:
    """Put the pictures there; {part: names of its pictures, relative to their folder}."""
    work = provenance.balanced.work
    places, taken = {}, set()
    for part in parts:
        whole = next(name for name in work.parts if _same(name, base, part, work.parts))
        indices = work.parts[whole].tolist()
        folder = base / ("JPEGImages" if format == "voc" else f"images/{part}")
        if pictures == "in-place":
            if len(set(indices)) < len(indices):
                raise ValueError(
                    f"pictures=in-place: {whole} has pictures that come more than once, and each image needs a name "
                    "of its own; take link or copy, or copies=1"
                )
            places[part] = _in_place(work.pool.records, indices, folder)
            continue
        taken = taken if format == "voc" else set()
        seen: dict[int, int] = {}
        names = []
        for index in indices:
            seen[index] = seen.get(index, 0) + 1
            split = list(work.pool.splits)[work.pool.split[index]]
            file = work.pool.records.images.find(index)
            name = _free(_safe(work.pool.records.images.name(index), flat=format == "voc"), seen[index], split, taken)
            _place(file, folder / name, pictures)
            names.append(name)
        places[part] = names
    return places


def _same(name: str, base: Path, part: str, all_parts: dict) -> bool:
    return name == part if part in all_parts else name == f"{base.name}/{part}"


def _place(file: str, to: Path, pictures: str) -> None:
    with writing(to, "Nothing was written."):
        to.parent.mkdir(parents=True, exist_ok=True)
        if pictures == "copy":
            shutil.copyfile(file, to)
        else:
            os.symlink(os.path.realpath(file), to)


def _in_place(records: Records, indices: list[int], folder: Path) -> list[str]:
    """Link the folder that holds all the pictures; their names in it."""
    paths = []
    for index in indices:
        try:
            paths.append(os.path.abspath(records.images.find(index)))
        except FileNotFoundError:  # annotations alone may be what is there
            paths.append(os.path.abspath(records.images.path(index)))
    roots = {os.path.abspath(source.root) for source in map(_source, records.images.sources) if source is not None}
    inside = [root for root in sorted(roots) if all(path.startswith(root + os.sep) for path in paths)]
    root = inside[0] if inside else os.path.commonpath([os.path.dirname(path) for path in paths])
    with writing(folder, "Nothing was written."):
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(root, folder)
    return [os.path.relpath(path, root) for path in paths]


def _source(images):
    source = getattr(images, "source", images)
    return source if hasattr(source, "root") else None


def _safe(name: str, flat: bool) -> str:
    """A name that stays in its folder and keeps its own folders if it has any; flat: without them."""
    name = name.replace("\\", "/")
    if flat or leads_outside("/pictures", name) or os.path.isabs(name) or ":" in name:
        return name.rsplit("/", 1)[-1]
    return os.path.normpath(name)


def _free(name: str, nth: int, split: str, taken: set[str]) -> str:
    """The name of the n-th copy of a picture, changed where another picture has it (endings and case do not count)."""
    path = PurePosixPath(name)
    stem = path.stem if nth == 1 else f"{path.stem}-repeat{nth}"
    tried = chain([stem, f"{stem}-{split}"], (f"{stem}-{split}-{i}" for i in count(2)))
    found = next(text for text in tried if str(path.with_name(text)).lower() not in taken)
    taken.add(str(path.with_name(found)).lower())
    return str(path.with_name(found + path.suffix))


@contextlib.contextmanager
def _whole_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """A hidden folder that becomes `out` when all went well, and is removed otherwise, whatever happens."""
    out = Path(os.path.abspath(out.expanduser()))
    with writing(out, "Nothing was written."):
        out.parent.mkdir(parents=True, exist_ok=True)
        for left in out.parent.glob(f".{out.name}.*.tmp"):  # of a process that was killed
            pid = left.name.rsplit(".", 2)[1]
            if pid.isdecimal() and not _alive(int(pid)):
                shutil.rmtree(left, ignore_errors=True)
        folder = out.with_name(f".{out.name}.{os.getpid()}.tmp")
        folder.mkdir()
    try:
        yield folder
        with writing(out, "Nothing was written."):
            former = out.with_name(f".{out.name}.{os.getpid()}.old")
            if out.exists():
                os.replace(out, former)
            os.replace(folder, out)
            sync_folder(out.parent)
            shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
