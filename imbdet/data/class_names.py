"""Match the classes of two sources by name, and what a trained model carries of its training data.

Notable: a model is built from `TrainedOn` as it is from `Records`, because it asks both the same questions (how many
classes, their names and counts), so a run needs no data set to be loaded.

Letters: K classes.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..config import instantiate


def match_names(wanted: Sequence[str], known: Sequence[str]) -> list[int]:
    """Return the position in `known` of each name of `wanted`, -1 where there is none.

    Equal names match first; those that are left match if they are equal in Unicode's composed form (NFC) and without
    spaces around them, and only if that leaves no choice.

    Example:
        >>> match_names(["cat", "dog ", "cow"], ["dog", "cat"])
        [1, 0, -1]
    """
    place = {name: i for i, name in reversed(list(enumerate(known)))}
    found = [place.get(name, -1) for name in wanted]
    left = {i: _normal(name) for i, name in enumerate(known) if i not in found}
    counts = Counter(left.values())
    similar = {name: i for i, name in left.items() if counts[name] == 1}
    asked = Counter(_normal(name) for name, i in zip(wanted, found, strict=True) if i < 0)
    for i, name in enumerate(map(_normal, wanted)):
        if found[i] < 0 and asked[name] == 1:
            found[i] = similar.get(name, -1)
    return found


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", str(name)).strip()


@dataclass(frozen=True)
class TrainedOn:
    """What a model carries of its training data: the classes and their counts, no picture and no box.

    Attributes:
        name, source: as in `Records`.
        class_names: K names, in the order of the labels. category_ids: (K,) the ids of the training file.
        boxes: (K,) boxes of each class, images: (K,) images that hold it, crowd left out.
        num_images: all images. data_fingerprint: see `Records.fingerprint`.
    """

    name: str
    source: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    boxes: tuple[int, ...]
    images: tuple[int, ...]
    num_images: int
    data_fingerprint: str = ""

    def __post_init__(self):
        for field in ("class_names", "category_ids", "boxes", "images"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        numbers = (*self.category_ids, *self.boxes, *self.images, self.num_images)
        for kind, values in ((str, (*self.class_names, self.name, self.source)), (int, numbers)):
            wrong = [value for value in values if type(value) is not kind]
            if wrong:
                raise ValueError(f"{wrong[0]!r} is a {type(wrong[0]).__name__}, not of type {kind.__name__}")
        large = [number for number in numbers if not -(2**63) <= number < 2**63]
        if large:
            raise ValueError(f"{hex(large[0])[:12]}... is beyond 64 bits")
        lengths = {len(self.class_names), len(self.category_ids), len(self.boxes), len(self.images)}
        if len(lengths) > 1:
            raise ValueError(
                f"{len(self.class_names)} class names, {len(self.category_ids)} category ids, {len(self.boxes)} counts "
                f"of boxes and {len(self.images)} of images; each must be one a class"
            )

    @classmethod
    def of(cls, records: Any) -> TrainedOn:
        """Make it from Records."""
        return cls(
            name=records.name,
            source=str(records.source),
            class_names=tuple(records.class_names),
            category_ids=tuple(records.category_ids.tolist()),
            boxes=tuple(records.class_counts().tolist()),
            images=tuple(records.image_counts().tolist()),
            num_images=len(records),
            data_fingerprint=records.fingerprint(),
        )

    @classmethod
    def read(cls, values: Mapping[str, Any], source: str) -> TrainedOn:
        """Make one from what `to_dict` gave. Raises ValueError if `source`, where the values come from, holds something
        else.
        """
        try:
            return cls(**{key: values[key] for key in cls.__dataclass_fields__})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{source}: what it says of its training data cannot be read ({error})") from error

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint, JSON or YAML."""
        values = asdict(self)
        lists = {key: list(value) for key, value in values.items() if isinstance(value, tuple)}
        return {**values, **lists, "num_classes": self.num_classes}

    def node(self, train: Any = None) -> dict[str, Any]:
        """Return the config node that stands in the place of the training data when a model is built from a run.

        train: the node that it takes the place of, for what asks for `records`.

        It holds JSON without a dollar sign, so no class name can be taken for an interpolation or a node.
        """
        text = json.dumps(self.to_dict()).replace("$", "\\u0024")
        return {
            "_target_": f"{type(self).__module__}.{type(self).__qualname__}.from_json",
            "text": text,
            "train": train,
            "_recursive_": False,
        }

    @classmethod
    def from_json(cls, text: str, train: Any = None) -> TrainedOn:
        """Make one from what `node` holds."""
        known = cls.read(json.loads(text), "a run")
        object.__setattr__(known, "_train", train)
        return known

    def records(self) -> Any:
        """Read the training data itself, only now. Raises ValueError where it is unknown or has changed since."""
        train = getattr(self, "_train", None)
        found = None if train is None else instantiate(train)
        if found is None or found.fingerprint() != self.data_fingerprint:
            what = "is not known" if found is None else f"({found.source}) has changed since the training"
            raise ValueError(f"the training data of this run {what}, and its counts alone do not say where boxes lie")
        return found

    def __len__(self) -> int:
        return self.num_images

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def class_counts(self) -> np.ndarray:
        """Return int64 (K,): boxes of each class, crowd left out."""
        return np.array(self.boxes, dtype=np.int64)

    def image_counts(self) -> np.ndarray:
        """Return int64 (K,): images that hold each class, crowd left out."""
        return np.array(self.images, dtype=np.int64)

    def fingerprint(self) -> str:
        """Return the fingerprint of the records that it was made of."""
        return self.data_fingerprint
