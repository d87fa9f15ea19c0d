"""Finished cells, read from their run folders: what they logged, and what their detections say image by image.

Notable: only numbers leave this file. A cell's detections are matched, evaluated on every draw of the bootstrap and let
go before the next cell is read, so that a grid of any size fits into memory.

Letters: N images, B draws, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.bootstrap import RankedDetections, over_classes, rank_detections
from ..evaluation.detections import as_detections
from ..evaluation.errors import error_types
from ..evaluation.ground_truth import GroundTruth
from ..evaluation.metrics import BY_NAME
from .structures import DETECTIONS, RunRecord

TIDE = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")


@dataclass
class Measured:
    """What the detections of one run give.

    values: {metric: number or None}, of all images: those of the bootstrap, and TIDE's dCls ... dMiss.
    draws: {metric: (B,)}, of every draw, NaN where nothing of that kind was drawn.
    f1: (N,) of each image, see `f1_of_images`. images: {metric: how many images hold an object it is about}.
    """

    values: dict[str, float | None]
    draws: dict[str, np.ndarray]
    f1: np.ndarray
    images: dict[str, int]


@dataclass
class Cell:
    """A finished run. folder: where it lies; measured: None without usable detections."""

    record: RunRecord
    folder: Path
    measured: Measured | None = None
    reports: list[dict[str, Any]] = field(default_factory=list)

    @cached_property
    def result(self) -> dict[str, Any]:
        """result.json, {} without one."""
        return read_json(self.folder / "result.json")

    @cached_property
    def environment(self) -> dict[str, Any]:
        """environment.json, {} without one."""
        return read_json(self.folder / "environment.json")

    @property
    def evaluation(self) -> dict[str, Any]:
        """The evaluation at the end of the run's training, {} without one."""
        return self.result.get("evaluation") or {}

    @property
    def detections(self) -> Path:
        return self.folder / DETECTIONS

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.record.arm}, seed {self.record.seed}"

    def value(self, metric: str) -> float | None:
        """A metric as the run's own evaluation has it, else as its detections give it; None where it is undefined."""
        value = self.record.metrics.get(metric)
        if metric not in self.record.metrics and self.measured is not None:
            value = self.measured.values.get(metric)
        return None if value is None or value == -1 or not np.isfinite(value) else float(value)


def read_cell(record: RunRecord, root: Path) -> Cell:
    """The cell of a record; its reports are empty if it kept none."""
    from ..engine.log import METRICS, read_metrics

    folder = Path(root) / record.folder
    path = folder / METRICS
    return Cell(record, folder, reports=read_metrics(path) if path.is_file() else [])


def read_json(path: Path) -> dict[str, Any]:
    """Raises ValueError if it is no JSON."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def measure(
    path: Path, truth: GroundTruth, weights: np.ndarray, groups: Mapping[str, Sequence[int]] | None
) -> Measured:
    """Match a results file once; evaluate it on all images and on every draw.

    Args:
        weights: (N, B), see `image_weights`. groups: {"rare": labels, "common": labels, "frequent": labels} or None.

    Raises:
        ValueError: it does not fit the ground truth. OSError: it cannot be read.
    """
    found = as_detections(path, truth.category_ids, truth.class_names)
    ranked = rank_detections(truth, found)
    values = {
        name: None if np.isnan(value[0]) else float(value[0])
        for name, value in over_classes(ranked.metrics(), groups).items()
    }
    values.update(_tide(truth, found))
    draws = over_classes(ranked.metrics(weights), groups)
    of_groups = {name: BY_NAME[name].group for name in draws}
    labels = {name: groups[group] if group else range(truth.num_classes) for name, group in of_groups.items()}
    images = {name: ranked.images_with_objects(some, name) for name, some in labels.items()}
    return Measured(values, draws, f1_of_images(ranked, int((~truth.crowd).sum())), images)


def _tide(truth: GroundTruth, found: Any) -> dict[str, float | None]:
    """TIDE's rises of AP50; None without hotcoco, which pycocotools cannot stand in for."""
    try:
        delta = error_types(truth, found)["delta"]
    except ImportError:
        return {f"d{name}": None for name in TIDE}
    return {f"d{name}": delta[name] for name in TIDE}


def f1_of_images(ranked: RankedDetections, objects: int) -> np.ndarray:
    """(N,) F1 of each image at IoU 0.5: 2 TP / (detections shown + objects), 1 where there is neither.

    Shown are as many detections of the whole split as it has objects, those of the best scores: scores of two arms mean
    different things, so that no one threshold is fair to both.
    """
    from ..report.pictures import score_threshold

    shown = ranked.score >= score_threshold(ranked.score, objects)
    right = np.bincount(ranked.image[shown & ranked.true[0, 0]], minlength=ranked.num_images)
    counted = np.bincount(ranked.image[shown & ~ranked.skipped[0, 0]], minlength=ranked.num_images)
    places = np.concatenate([areas[0] for areas in ranked.objects] or [np.zeros(0, dtype=np.int64)])
    total = counted + np.bincount(places, minlength=ranked.num_images)
    return np.where(total > 0, 2 * right / np.maximum(total, 1), 1.0)


def first(values: Iterable[Any]) -> Any:
    """The first that is not empty, or None."""
    return next((value for value in values if value), None)
