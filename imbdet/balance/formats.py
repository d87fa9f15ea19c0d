"""The three formats, written: each function gets the parts, the names of their pictures, and a folder."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from ..data.records import Records
from ..write import writing
from .provenance import Provenance

Places = dict[str, list[str]]


def _put(path: Path, content: str | bytes) -> None:
    """Write a file of the hidden folder, which is renamed when all of it is there; so no file is flushed by itself."""
    with writing(path, "Nothing was written."):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)


def write_coco(provenance: Provenance, parts: dict[str, Records], places: Places, base: Path) -> None:
    """Write annotations/instances_{part}.json; what the input's file says besides boxes is kept."""
    originals = provenance.balanced.originals
    licenses = originals.files[0].licenses
    for part, records in parts.items():
        content = {
            "info": _info(provenance, part),
            **({} if licenses is None else {"licenses": licenses}),
            "images": _images(provenance, part, records, places[part], base),
            "annotations": _annotations(provenance, part, records, base),
            "categories": [
                {**originals.category(number), "id": number, "name": name}
                for number, name in zip(records.category_ids.tolist(), records.class_names, strict=True)
            ],
        }
        _put(base / "annotations" / f"instances_{part}.json", msgspec.json.encode(content) + b"\n")


def _info(provenance: Provenance, part: str) -> dict[str, Any]:
    info = provenance.balanced.originals.files[0].info
    dated = {} if provenance.date is None else {"date_created": provenance.date}
    return {
        "description": f"{part} of {provenance.input['name']}, changed by imbdet balance",
        **dated,
        "imbdet": {
            key: getattr(provenance, key) for key in ("version", "command", "options", "seed", "input", "notes")
        },
        **({} if info is None else {"source_info": info}),
    }


def _whole_name(provenance: Provenance, part: str, base: Path) -> str:
    parts = provenance.balanced.work.parts
    return part if part in parts else f"{base.name}/{part}"


def _images(provenance: Provenance, part: str, records: Records, names: list[str], base: Path) -> list[dict[str, Any]]:
    balanced = provenance.balanced
    whole = _whole_name(provenance, part, base)
    rows = []
    for i, index in enumerate(balanced.work.parts[whole].tolist()):
        split, key = provenance.source_images[whole][i]
        rows.append(
            {
                **balanced.originals.image(index),
                "id": int(records.image_ids[i]),
                "file_name": names[i],
                "height": int(records.heights[i]),
                "width": int(records.widths[i]),
                "source_image_id": key,
                "source_split": split,
            }
        )
    return rows


def _annotations(provenance: Provenance, part: str, records: Records, base: Path) -> list[dict[str, Any]]:
    work, originals = provenance.balanced.work, provenance.balanced.originals
    source = work.records(_whole_name(provenance, part, base)).annotation_ids  # indices into the pool
    image_ids = records.image_ids[records.object_image].tolist()
    rows = []
    for i, index in enumerate(source.tolist()):
        row = {
            **originals.annotation(index),
            "id": int(records.annotation_ids[i]),
            "image_id": image_ids[i],
            "category_id": int(records.category_ids[records.labels[i]]),
            "bbox": records.xywh[i].tolist(),
            "area": float(records.areas[i]),
            "iscrowd": int(records.crowd[i]),
            "source_annotation_id": int(originals.annotation_ids[index]),
        }
        if work.noisy[index]:
            row["source_category"] = work.pool.records.class_names[work.pool.records.labels[index]]
        rows.append(row)
    return rows


def write_yolo(provenance: Provenance, parts: dict[str, Records], places: Places, base: Path) -> None:
    """Write data.yaml and labels/{part}/*.txt: `class cx cy w h` in fractions; boxes clipped, crowd left out."""
    first = next(iter(parts.values()))
    lines = [f"# {provenance.command}", f"# imbdet {provenance.version}, input {provenance.input['fingerprint']}"]
    lines += [f"{part}: images/{part}" for part in parts]
    lines += ["names:", *(f"  {k}: {json.dumps(name)}" for k, name in enumerate(first.class_names))]
    _put(base / "data.yaml", "\n".join(lines) + "\n")
    for part, records in parts.items():
        for i, name in enumerate(places[part]):
            corners, labels = _corners(records, i)
            size = np.array([records.widths[i], records.heights[i]], dtype=float)
            low, high = np.clip(corners[:, :2] / size, 0, 1), np.clip(corners[:, 2:] / size, 0, 1)
            inside = (high > low).all(axis=1)
            rows = np.concatenate([(low + high) / 2, high - low], axis=1)[inside].tolist()
            text = "".join(
                f"{label} {' '.join(map(repr, row))}\n"
                for label, row in zip(labels[inside].tolist(), rows, strict=True)
            )
            _put(base / "labels" / part / PurePosixPath(name).with_suffix(".txt"), text)


def write_voc(provenance: Provenance, parts: dict[str, Records], places: Places, base: Path) -> None:
    """Write Annotations/*.xml (pixels from 1, crowd as difficult) and ImageSets/Main/{part}.txt."""
    for part, records in parts.items():
        whole = _whole_name(provenance, part, base)
        for i, name in enumerate(places[part]):
            _, key = provenance.source_images[whole][i]
            _put(base / "Annotations" / f"{PurePosixPath(name).stem}.xml", _xml(records, i, name, key))
        stems = "".join(f"{PurePosixPath(name).stem}\n" for name in places[part])
        _put(base / "ImageSets" / "Main" / f"{part}.txt", stems)


def _xml(records: Records, image: int, name: str, key: Any) -> bytes:
    root = ElementTree.Element("annotation")

    def add(parent: ElementTree.Element, tag: str, text: Any = None) -> ElementTree.Element:
        element = ElementTree.SubElement(parent, tag)
        element.text = None if text is None else str(text)
        return element

    add(root, "filename", name)
    add(add(root, "source"), "source_image_id", key)
    size = add(root, "size")
    for tag, value in (("width", records.widths[image]), ("height", records.heights[image]), ("depth", 3)):
        add(size, tag, int(value))
    for index in range(records.offsets[image], records.offsets[image + 1]):
        item = add(root, "object")
        add(item, "name", records.class_names[records.labels[index]])
        add(item, "difficult", int(records.crowd[index]))
        x, y, w, h = records.xywh[index].tolist()
        box = add(item, "bndbox")
        for tag, value in (("xmin", x + 1), ("ymin", y + 1), ("xmax", x + w), ("ymax", y + h)):
            add(box, tag, f"{value:.15g}")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8") + b"\n"


def _corners(records: Records, image: int) -> tuple[np.ndarray, np.ndarray]:
    """float64 (m, 4) XYXY and (m,) labels of an image, crowd left out."""
    here = slice(records.offsets[image], records.offsets[image + 1])
    kept = ~records.crowd[here]
    boxes = records.xywh[here][kept].copy()
    boxes[:, 2:] += boxes[:, :2]
    return boxes, records.labels[here][kept]
