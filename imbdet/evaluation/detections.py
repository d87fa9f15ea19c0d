"""Detections of a whole split in flat arrays, to and from COCO's results list.

Notable: a `Detections` that exists is valid: finite scores and boxes, no negative size. What is wrong with a results
file is said with the row and its value before any evaluator sees it, because evaluators answer such rows with a number.

Letters: D detections, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..data.class_names import match_names
from ..data.records import IdKeys
from ..write import write_whole
from .coco_json import read_results
from .ground_truth import positions, whole_numbers

_COLUMNS = {"image_id": np.int64, "label": np.int64, "score": np.float64, "xywh": np.float64}


@dataclass
class Detections:
    """D detections, in any order (a stable one: among equal scores of an image the earlier counts first).

    Attributes:
        image_id: int64 (D,); label: int32 (D,) in 0..K-1; score: float64 (D,), higher is surer;
        xywh: float64 (D, 4), left, top, width, height in pixels of the original picture.
        class_names: K names, or () if unknown, in which case labels are those of whatever they are compared with.
        source: for messages.
        keys: the ids as the ground truth's file writes them, where they are text: `to_coco` writes these.

    Raises:
        ValueError: columns of different lengths, a score or box that is not finite, a negative size; with row and
            value.
    """

    image_id: np.ndarray
    label: np.ndarray
    score: np.ndarray
    xywh: np.ndarray
    class_names: tuple[str, ...] = ()
    source: str = "detections"
    keys: IdKeys | None = None

    def __post_init__(self):
        self.image_id = np.asarray(self.image_id, dtype=np.int64).reshape(-1)
        self.label = np.asarray(self.label, dtype=np.int32).reshape(-1)
        self.score = np.asarray(self.score, dtype=np.float64).reshape(-1)
        self.xywh = np.asarray(self.xywh, dtype=np.float64).reshape(-1, 4)
        self.class_names = tuple(self.class_names)
        sizes = {name: len(getattr(self, name)) for name in _COLUMNS}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"{self.source}: columns of different lengths: {sizes}")
        self._check_values()

    def _check_values(self) -> None:
        rules = (
            (~np.isfinite(self.score), "score", self.score, "a score must be a finite number"),
            (~np.isfinite(self.xywh).all(axis=1), "bbox", self.xywh, "a box must be four finite numbers"),
            (
                (self.xywh[:, 2:] < 0).any(axis=1),
                "bbox",
                self.xywh,
                "width and height must not be negative (a box is [x, y, width, height], not two corners)",
            ),
        )
        for bad, name, values, rule in rules:
            if bad.any():
                row = int(np.argmax(bad))
                raise ValueError(
                    f"{self.source}[{row}]: {name} is {values[row].tolist()} (image id {self.image_id[row]}), and "
                    f"{int(bad.sum()) - 1} more are like it; {rule}"
                )

    def __len__(self) -> int:
        return len(self.image_id)

    def take(self, index: np.ndarray) -> Detections:
        """Return the rows at `index`, integers or a mask, in that order."""
        columns = {name: getattr(self, name)[index] for name in _COLUMNS}
        return Detections(**columns, class_names=self.class_names, source=self.source, keys=self.keys)

    def relabeled(self, class_names: Sequence[str]) -> tuple[Detections, dict[str, int]]:
        """Return the same with labels that count in the order of `class_names`, matched by name; and how many were
        dropped of each class that is not among them: {name: detections}.
        """
        place = np.array(match_names(self.class_names, class_names), dtype=np.int32)
        known = place[self.label] >= 0
        counts = np.bincount(self.label, minlength=len(place))
        dropped = {self.class_names[k]: int(counts[k]) for k in np.flatnonzero(place < 0)}
        kept = self.take(known)
        kept.label, kept.class_names = place[kept.label], tuple(class_names)
        return kept, dropped

    def to_coco(self, category_ids: Sequence[int]) -> list[dict]:
        """Return COCO's results list. `category_ids` (K,): the id of each label in the file that they belong to."""
        ids = np.asarray(category_ids, dtype=np.int64)
        if len(self) and self.label.max() >= len(ids):
            raise ValueError(f"{self.source}: label {self.label.max()}, but there are only {len(ids)} category ids")
        images, categories = self.image_id.tolist(), ids[self.label].tolist()
        if self.keys is not None:
            images = [self.keys.images.get(i, i) for i in images]
            categories = [self.keys.categories.get(i, i) for i in categories]
        columns = zip(images, categories, self.xywh.tolist(), self.score.tolist(), strict=True)
        return [{"image_id": i, "category_id": c, "bbox": box, "score": s} for i, c, box, s in columns]

    def save(self, path: str | Path, category_ids: Sequence[int]) -> None:
        """Write `to_coco(category_ids)` as JSON, every number at full precision."""
        write_whole(path, msgspec.json.encode(self.to_coco(category_ids)))

    @classmethod
    def from_coco(
        cls,
        results: str | Path | list,
        category_ids: Sequence[int],
        class_names: Sequence[str] = (),
        keys: IdKeys | None = None,
    ) -> Detections:
        """Read COCO results: a file, or the list that `json.load` gives. An empty list is a valid result.

        Args:
            category_ids: (K,) the ids of the classes, in the order of the labels.
            class_names: (K,) their names.
            keys: of the ground truth, where its ids are text.

        Raises:
            ValueError: not a results list, an unknown category, NaN, a negative size; with file, row and value.
            FileNotFoundError: no such file.
        """
        rows, name = read_results(results)
        ids = np.asarray(category_ids, dtype=np.int64)
        images, names = (keys and keys.numbers(part) for part in ("images", "categories"))
        categories = whole_numbers([r.category_id for r in rows], f"{name}[{{}}].category_id", names)
        label = positions(ids, categories)
        if (label < 0).any():
            raise ValueError(_unknown_category(name, categories, label, ids))
        return cls(
            image_id=whole_numbers([r.image_id for r in rows], f"{name}[{{}}].image_id", images),
            label=label,
            score=np.array([r.score for r in rows], dtype=np.float64),
            xywh=np.array([r.bbox for r in rows], dtype=np.float64).reshape(-1, 4),
            class_names=tuple(class_names),
            source=name,
            keys=keys,
        )


def _unknown_category(name: str, categories: np.ndarray, label: np.ndarray, known: np.ndarray) -> str:
    row = int(np.argmax(label < 0))
    listed = ", ".join(map(str, np.sort(known)[:12])) + (" ..." if len(known) > 12 else "")
    message = (
        f"{name}[{row}]: category_id is {categories[row]}, and {int((label < 0).sum()) - 1} more rows have an unknown "
        "one; "
        f"the ground truth has {listed}"
    )
    used = np.unique(categories)
    for shift in (1, -1):
        if np.isin(used + shift, known).all():
            return f"{message}. All ids would be known with {shift:+d}: they seem to be off by one"
    if used.min() >= 0 and used.max() < len(known):
        return f"{message}. They seem to be labels 0..{len(known) - 1}; write the ground truth's category ids instead"
    return message


def as_detections(
    source: Any, category_ids: Sequence[int], class_names: Sequence[str], keys: IdKeys | None = None
) -> Detections:
    """Convert detections (labels mapped by class name where the order differs), a results file or its list ->
    Detections.

    Arguments as of `Detections.from_coco`.

    Raises:
        ValueError: a class that the ground truth does not have; otherwise as `Detections.from_coco`.
    """
    if not isinstance(source, Detections):
        return Detections.from_coco(source, category_ids, class_names, keys)
    if len(source) and not 0 <= source.label.min() <= source.label.max() < len(source.class_names or class_names):
        row = int(np.argmax((source.label < 0) | (source.label >= len(source.class_names or class_names))))
        raise ValueError(
            f"{source.source}[{row}]: label is {source.label[row]}; "
            f"labels of {len(source.class_names or class_names)} classes are "
            f"0..{len(source.class_names or class_names) - 1}"
        )
    names = tuple(class_names)
    if not source.class_names or source.class_names == names:
        return source
    places = zip(source.class_names, match_names(source.class_names, names), strict=True)
    missing = sorted(name for name, place in places if place < 0)
    if missing:
        raise ValueError(
            f"{source.source}: classes {missing[:5]} are not among the ground truth's {len(names)} "
            f"({', '.join(names[:8])}"
            f"{' ...' if len(names) > 8 else ''}). Is the model of another data set?"
        )
    return source.relabeled(names)[0]


def score_threshold(scores: np.ndarray, objects: int) -> float:
    """Return the score of the detection at rank `objects`, as many are drawn then as there are objects (0 for all)."""
    if objects == 0 or len(scores) <= objects:
        return 0.0
    return float(np.partition(scores, len(scores) - objects)[len(scores) - objects])
