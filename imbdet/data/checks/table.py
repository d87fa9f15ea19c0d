"""What the rules look at: a COCO file as plain objects, or records, as columns with the same names.

Letters: N images, M annotations (entries that are objects), K categories.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from imbdet.data.checks.pictures import PictureSet, picture_name
from imbdet.data.datasets.coco_plain import PARTS, box_of, crowd_of, mask_area, mask_box, number, understand, whole
from imbdet.data.records import Records

NO_ID = -(2**63)


@dataclass(frozen=True)
class Hit:
    """One place where a rule found something.

    value: what is there. part, index: where in the file; part "" for all of it. right: instead of the rule's own.
    mend: repairs it and returns what was done in words; None where nothing can be computed. keep: never dropped.
    """

    value: str = ""
    part: str = ""
    index: int = -1
    key: str = ""
    image_id: Any = None
    annotation_id: Any = None
    right: str = ""
    mend: Callable[[], str] | None = None
    keep: bool = False

    @property
    def place(self) -> str:
        """Where in the file, e.g. "$.annotations[3].bbox"."""
        return f"$.{self.part}[{self.index}]{self.key and '.' + self.key}" if self.index >= 0 else self.key


class Columns:
    """The columns that files and records have in common; rules marked `quick` use no other.

    Attributes:
        file: what findings are reported on.
        image_width, image_height: float64 (N,), NaN where the file does not say.
        names: N picture names, "" where there is none. image_ids: N, as in the file.
        owner: int64 (M,), the image of each annotation, -1 where it is not there. label: int64 (M,), likewise.
        class_names, category_ids: K, as in the file. groups: names that are the `supercategory` of another class.
        xywh: float64 (M, 4); has_box: bool (M,), whether there is a box of four numbers at all.
        area: float64 (M,), NaN where there is none. crowd: bool (M,).
        annotation_ids: int64 (M,), NO_ID where unusable.
    """

    file: str

    @cached_property
    def size(self) -> tuple[np.ndarray, np.ndarray]:
        """Width and height (M,) of each annotation's image, NaN where unknown."""
        usable = (self.image_width > 0) & (self.image_height > 0)
        width = np.append(np.where(usable, self.image_width, np.nan), np.nan)
        height = np.append(np.where(usable, self.image_height, np.nan), np.nan)
        return width[self.owner], height[self.owner]

    def describe_box(self, row: int, with_image: bool) -> str:
        """Return the box in words."""
        width, height = (sizes[row] for sizes in self.size)
        beside = f" in an image of {width:g}x{height:g}" if with_image else ""
        return f"{self.xywh[row].tolist()}{beside}"

    def mask_area(self, row: int) -> float | None:
        """Return NaN: records do not keep masks; see `coco_plain.mask_area`."""
        return np.nan

    def outside(self) -> list[int]:
        """Return the rows of images whose file is outside of the folder of pictures."""
        raise NotImplementedError

    def hit(self, part: str, row: int, value: str = "", key: str = "", right: str = "", mend=None) -> Hit:
        """Return a hit at a row of a part."""
        raise NotImplementedError


class RecordsTable(Columns):
    """Records; nothing in them is mended."""

    def __init__(self, records: Records):
        self.records, self.file = records, records.source
        self.image_width, self.image_height = records.widths.astype(float), records.heights.astype(float)
        self.image_ids = records.image_keys or records.image_ids.tolist()
        self.owner, self.label = records.object_image, records.labels.astype(np.int64)
        self.class_names = list(records.class_names)
        self.category_ids = records.category_keys or records.category_ids.tolist()
        self.groups = {group for name, group in records.supercategories.items() if group != name}
        self.xywh, self.has_box = records.xywh, np.ones(records.num_objects, dtype=bool)
        self.area, self.crowd, self.annotation_ids = records.areas, records.crowd, records.annotation_ids
        self.unread = False

    @cached_property
    def names(self) -> list[str]:
        """Of the pictures."""
        return [self.records.images.name(i) for i in range(len(self.records))]

    def outside(self) -> list[int]:
        return self.records.images.outside() if hasattr(self.records.images, "outside") else []

    def hit(self, part: str, row: int, value: str = "", key: str = "", right: str = "", mend=None) -> Hit:
        image = row if part == "images" else int(self.owner[row]) if part == "annotations" else -1
        ids = dict(image_id=None if image < 0 else self.image_ids[image])
        if part == "annotations":
            ids["annotation_id"] = int(self.annotation_ids[row])
        return Hit(value, right=right, **ids)


class FileTable(Columns):
    """A COCO file as plain objects; only entries that are objects have a row.

    entries: {part: [(index in the file, entry)]}; plain: {part: [the entry in the typed reader's form]}.
    pictures: what was found about its pictures, or None.
    partial: whether labels were left out of `coco` because they cannot be understood.
    changed: {identity of an entry: its part} of what was repaired.
    unread: whether some entry cannot be understood, so that counts of boxes would follow from that.
    """

    def __init__(
        self,
        coco: dict,
        file: str,
        pictures: PictureSet | None = None,
        changed: dict | None = None,
        partial: bool = False,
    ):
        self.coco, self.file, self.pictures = coco, file, pictures
        self.changed: dict[int, str] = {} if changed is None else changed
        lists = {part: coco[part] if isinstance(coco.get(part), list) else [] for part in PARTS}
        plain = understand(lists)
        kept = {part: [i for i, entry in enumerate(lists[part]) if isinstance(entry, dict)] for part in PARTS}
        self.entries = {part: [(i, lists[part][i]) for i in kept[part]] for part in PARTS}
        self.plain = {part: [plain[part][i] for i in kept[part]] for part in PARTS}
        self._removed: dict[str, set[int]] = {part: set() for part in PARTS}
        images, annotations, categories = (self.plain[part] for part in PARTS)
        self.image_numbers = [whole(image.get("id")) for image in images]
        self.image_ids = [entry.get("id") for _, entry in self.entries["images"]]
        self.names = [picture_name(image) for image in images]
        sizes = [(_size(image.get("width")), _size(image.get("height"))) for image in images]
        self.image_width, self.image_height = np.array(sizes, dtype=np.float64).reshape(-1, 2).T
        self.category_numbers = [whole(category.get("id")) for category in categories]
        self.category_ids = [entry.get("id") for _, entry in self.entries["categories"]]
        self.class_names = [category.get("name") for category in categories]
        named = [(c.get("supercategory"), c.get("name")) for c in categories]
        self.groups = {group for group, name in named if isinstance(group, str) and group != name}
        self.owner, self.has_owner = _positions(self.image_numbers, annotations, "image_id")
        self.label, self.has_label = _positions(self.category_numbers, annotations, "category_id")
        boxes = [box_of(annotation) for annotation in annotations]
        self.has_box = np.array([box is not None for box in boxes], dtype=bool)
        nothing = [np.nan] * 4
        self.xywh = np.array([box or nothing for box in boxes], dtype=np.float64).reshape(-1, 4)
        self.area = np.array([_area(annotation) for annotation in annotations], dtype=np.float64)
        self.crowd = np.array([bool(crowd_of(a.get("iscrowd"))) for a in annotations], dtype=bool)
        ids = (whole(annotation.get("id")) for annotation in annotations)
        self.annotation_ids = np.array([NO_ID if i is None else i for i in ids], dtype=np.int64)
        self.highest_id = int(self.annotation_ids[self.annotation_ids < 2**53].max(initial=0))
        whole_list = isinstance(coco.get("annotations"), list) and len(annotations) == len(lists["annotations"])
        self.unread = not (whole_list and self.has_box.all() and (self.owner >= 0).all() and (self.label >= 0).all())
        self.partial = partial
        self.misfits: list[tuple[str, int, str]] | None = None  # of the rules on keys and types
        self.unread |= partial or len(set(self.image_numbers)) < len(images)

    def mask_area(self, row: int) -> float | None:
        return mask_area(self.plain["annotations"][row].get("segmentation"))

    def hit(self, part: str, row: int, value: str = "", key: str = "", right: str = "", mend=None) -> Hit:
        index, entry = self.entries[part][row]
        ids = dict(image_id=entry.get("id")) if part == "images" else {}
        if part == "annotations":
            ids = dict(image_id=entry.get("image_id"), annotation_id=entry.get("id"))
        return Hit(value, part, index, key, right=right, mend=mend, **ids)

    def outside(self) -> list[int]:
        found = {} if self.pictures is None else self.pictures.pictures
        return [i for i, name in enumerate(self.names) if name in found and found[name].status == "outside"]

    def set(self, part: str, row: int, done: str, **values) -> Callable[[], str]:
        """Return a repair that gives an entry these values."""
        entry = self.entries[part][row][1]

        def mend() -> str:
            entry.update(values)
            self.changed[id(entry)] = part
            return done

        return mend

    def merge(self, part: str, row: int, into: int, done: str) -> Callable[[], str]:
        """Return a repair that removes an entry and gives its annotations to another one."""
        index, (_, other) = self.entries[part][row][0], self.entries[part][into]
        key, owner = ("image_id", self.owner) if part == "images" else ("category_id", self.label)

        def mend() -> str:
            for mine in np.flatnonzero(owner == row):
                annotation = self.entries["annotations"][mine][1]
                annotation[key] = other["id"]
                self.changed[id(annotation)] = "annotations"
            self._removed[part].add(index)
            return done

        return mend

    def doubts_size(self, row: int) -> bool:
        """Return whether the picture of an annotation has another size than the file says, so that the box may be
        right.
        """
        picture = self.pictures and self.owner[row] >= 0 and self.pictures.pictures.get(self.names[self.owner[row]])
        return bool(picture and picture.size and picture.size != tuple(sizes[row] for sizes in self.size))

    def from_mask(self, row: int) -> Callable[[], str] | None:
        """Return a repair that computes the box from the mask; None where there is no mask with a box on the image."""
        box = mask_box(self.plain["annotations"][row].get("segmentation"))
        width, height = (sizes[row] for sizes in self.size)
        if not box or min(box[2:]) <= 0 or min(box[0] + box[2], box[1] + box[3]) <= 0:
            return None
        if box[0] >= width or box[1] >= height:
            return None
        return self.set("annotations", row, "box computed from the mask", bbox=box)

    def remove(self, hit: Hit) -> None:
        """Mark the entry of a hit for `compacted`."""
        self._removed[hit.part].add(hit.index)

    def compacted(self) -> FileTable:
        """Return the table of the file as it is after repairs."""
        for part, gone in self._removed.items():
            if gone:
                self.coco[part] = [entry for i, entry in enumerate(self.coco[part]) if i not in gone]
        return FileTable(self.coco, self.file, self.pictures, self.changed)


def describe_value(value: Any) -> str:
    """Return a JSON value in words, for a finding."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = "..."
    kind = {dict: "an object", list: "a list", str: "text", type(None): "null", bool: "true or false"}
    return f"{kind.get(type(value), 'a number')}, {text if len(text) <= 60 else text[:57] + '...'}"


def _positions(known: list[int | None], annotations: list[dict], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(M,) where each annotation's id stands in `known`, -1 if nowhere; and whether it is an id at all."""
    place: dict[int | None, int] = {}
    for i, value in enumerate(known):
        place.setdefault(value, i)
    place.pop(None, None)
    ids = [whole(annotation.get(key)) for annotation in annotations]
    found = np.array([place.get(value, -1) for value in ids], dtype=np.int64)
    return found, np.array([value is not None for value in ids], dtype=bool)


def _area(annotation: dict) -> float:
    value = annotation.get("area")
    return value if type(value) in (int, float) and abs(value) < 1e300 else np.nan


def _size(value: Any) -> float:
    """Of an image: NaN where there is none, infinity for what is no size at all."""
    size = number(value)
    return np.nan if size is None else np.inf if np.isnan(size) else size
