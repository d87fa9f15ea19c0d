"""What the readers of other formats have in common: they make COCO ground truth in memory, and a list of problems."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from imbdet.data.datasets.coco import records_from_coco
from imbdet.data.images import PICTURE_SUFFIXES
from imbdet.data.records import Records

_SHOWN = 5


@dataclass
class Imported:
    """One split of a folder in another format.

    Attributes:
        source: the list or folder that it was read from.
        folder: the folder of the pictures.
        coco: COCO ground truth; image ids count from 1 in the order of the file names, annotation ids from 1.
        problems: what could not be understood, each with its file and line; these labels are left out of `coco`.
    """

    source: str
    folder: str
    coco: dict
    problems: list[str] = field(default_factory=list)


def empty_coco(class_names: Sequence[str]) -> dict:
    """Return COCO ground truth with categories, ids from 1, and nothing else yet."""
    categories = [{"id": i, "name": name} for i, name in enumerate(class_names, 1)]
    return {"images": [], "annotations": [], "categories": categories}


def add_annotation(coco: dict, label: int, xywh: Sequence[float], crowd: bool = False) -> None:
    """Append a box to the image that was appended last."""
    coco["annotations"].append(
        {
            "id": len(coco["annotations"]) + 1,
            "image_id": coco["images"][-1]["id"],
            "category_id": label + 1,
            "bbox": [float(value) for value in xywh],
            "area": float(xywh[2] * xywh[3]),
            "iscrowd": int(crowd),
        }
    )


def to_records(imported: Imported, keep_empty: bool, name: str, classes: Sequence[str] | None) -> Records:
    """Return Records of an imported split.

    Raises:
        ValueError: some label could not be understood; the first few are listed.
    """
    if imported.problems:
        shown = "\n  ".join(imported.problems[:_SHOWN])
        more = f"\n  ... and {len(imported.problems) - _SHOWN} more" if len(imported.problems) > _SHOWN else ""
        raise ValueError(
            f"{imported.source}: {len(imported.problems)} labels cannot be understood:\n  {shown}{more}\n"
            "tools/check_data.py DIR lists all of them"
        )
    return records_from_coco(imported.coco, imported.source, imported.folder, keep_empty, name, classes)


def pictures_by_stem(folder: str) -> dict[str, str]:
    """Return {file name without its ending: file name} of the pictures in a folder."""
    if not os.path.isdir(folder):
        return {}
    names = (os.path.splitext(name) for name in sorted(os.listdir(folder)))
    return {stem: stem + suffix for stem, suffix in names if suffix.lower() in PICTURE_SUFFIXES}
