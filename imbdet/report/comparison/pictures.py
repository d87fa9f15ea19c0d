"""The page of pictures of a comparison: the images on which two arms differ most, both arms side by side.

Pictures are an addition: whatever is missing for them (a moved data set, a run folder without
detections) is a reason on the page and never an error. Of each arm as many predictions are drawn as the split has
objects, since scores of two arms mean different things.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...compare.results import has_plan, read_plan, read_results
from ...compare.structures import ArmResult, Comparison, run_folder
from ...evaluation import Detections
from ...evaluation.detections import score_threshold
from ...runs import DETECTIONS
from ..html import validation_records
from ..pictures import Picture, make_picture
from ..run import read_run


@dataclass(frozen=True)
class Side:
    """What one arm finds on an image. threshold: the lowest score that is drawn."""

    arm: str
    seed: int
    threshold: float
    picture: Picture


@dataclass(frozen=True)
class Pair:
    """One image and what two arms find on it."""

    image_id: int
    name: str
    sides: tuple[Side, Side]


class Missing(Exception):
    """Why there are no pictures, in one sentence for the page."""


def gallery(comparison: Comparison, root: Path, records: Any = None, limit: int = 12) -> tuple[list[Pair], list[str]]:
    """Return the pictures, and why some or all of `comparison.pictures` are left out.

    Args:
        root: the comparison's folder. records: the Records evaluated on; by default built from the config of a run.
    """
    if not comparison.pictures:
        return [], ["No images were chosen for pictures."]
    source = _Source(comparison, root, records)
    pairs, reasons = [], dict[str, None]()
    for image_id, first, second in comparison.pictures[:limit]:
        try:
            seed = source.common_seed(first, second)
            sides = tuple(source.side(name, seed, int(image_id)) for name in (first, second))
            pairs.append(Pair(int(image_id), sides[0].picture.name, sides))
        except Missing as reason:
            reasons[str(reason)] = None
    return pairs, list(reasons)


class _Source:
    """Records and detections, read once each and only if a picture needs them."""

    def __init__(self, comparison: Comparison, root: Path, records: Any):
        self.arms: Mapping[str, ArmResult] = {result.arm.name: result for result in comparison.arms}
        self.root, self.records = root, records
        self.folders = {(record.arm, record.seed): root / record.folder for record in read_results(root)}
        self.read: dict[tuple[str, int], tuple[Any, float]] = {}
        self.unreadable: Missing | None = None

    def folder(self, arm: str, seed: int) -> Path:
        return self.folders.get((arm, seed)) or self.root / run_folder(arm, seed)

    def common_seed(self, first: str, second: str) -> int:
        """The first seed of which both arms have detections. Raises Missing."""
        for name in (first, second):
            if name not in self.arms:
                raise Missing(f"{name} is not an arm of this comparison; it has no pictures.")
        for seed in self.arms[first].seeds:
            if seed in self.arms[second].seeds and all(
                (self.folder(name, seed) / DETECTIONS).exists() for name in (first, second)
            ):
                return seed
        raise Missing(f"No seed of both {first} and {second} has a {DETECTIONS}.")

    def side(self, arm: str, seed: int, image_id: int) -> Side:
        records = self._records(self.folder(arm, seed))
        found = np.flatnonzero(records.image_ids == image_id)
        if not len(found):
            raise Missing(f"The data evaluated on ({records.name}) has no image {image_id}.")
        detections, threshold = self._detections(arm, seed)
        try:
            return Side(arm, seed, threshold, make_picture(records, int(found[0]), detections, threshold))
        except OSError as error:
            raise Missing(f"Image {image_id} cannot be read: {error}.") from error

    def _detections(self, arm: str, seed: int) -> tuple[Any, float]:
        """The detections of a run, and the score from which they are drawn."""
        if (arm, seed) not in self.read:
            path = self.folder(arm, seed) / DETECTIONS
            try:
                records = self.records
                found = Detections.from_coco(path, records.category_ids, records.class_names, records.keys)
            except (OSError, ValueError) as error:
                raise Missing(f"The detections of {arm}, seed {seed}, cannot be drawn: {error}") from error
            threshold = score_threshold(found.score, int((~self.records.crowd).sum()))
            self.read[arm, seed] = found, threshold
        return self.read[arm, seed]

    def _records(self, folder: Path) -> Any:
        if self.unreadable is not None:
            raise self.unreadable
        if self.records is None:
            try:
                split = read_plan(self.root).split if has_plan(self.root) else "val"
                self.records = validation_records(read_run(folder), split)
            except Exception as error:  # a data set is built by whatever the config names, which may raise anything
                self.unreadable = Missing(f"The data evaluated on cannot be read: {type(error).__name__}: {error}")
                raise self.unreadable from error
        return self.records
