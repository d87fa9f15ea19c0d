"""What the detections of one run say: metrics of all images and of every draw of a bootstrap, errors, F1 of each image.

Only numbers leave this file: detections are matched, evaluated on every draw and let go, so that a comparison of any
number of runs fits into memory.

Letters: N images, B draws, K classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .bootstrap import RankedDetections, over_classes, rank_detections
from .detections import as_detections, score_threshold
from .errors import error_types
from .ground_truth import GroundTruth
from .metrics import BY_NAME, TIDE_ERRORS


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


def measure(
    path: Path, truth: GroundTruth, weights: np.ndarray, groups: Mapping[str, Sequence[int]] | None
) -> Measured:
    """Match a results file once; evaluate it on all images and on every draw.

    Args:
        weights: (N, B), see `image_weights`. groups: {"rare": labels, "common": labels, "frequent": labels} or None.

    Raises:
        ValueError: it does not fit the ground truth. OSError: it cannot be read.
    """
    found = as_detections(path, truth.category_ids, truth.class_names, truth.keys)
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
        return dict.fromkeys(TIDE_ERRORS)
    return {name: delta[name.removeprefix("d")] for name in TIDE_ERRORS}


def f1_of_images(ranked: RankedDetections, objects: int) -> np.ndarray:
    """Return (N,) F1 of each image at IoU 0.5: 2 TP / (detections shown + objects), 1 where there is neither.

    Shown are as many detections of the whole split as it has objects, those of the best scores: scores of two arms mean
    different things, so that no one threshold is fair to both.
    """
    shown = ranked.score >= score_threshold(ranked.score, objects)
    right = np.bincount(ranked.image[shown & ranked.true[0, 0]], minlength=ranked.num_images)
    counted = np.bincount(ranked.image[shown & ~ranked.skipped[0, 0]], minlength=ranked.num_images)
    places = np.concatenate([areas[0] for areas in ranked.objects] or [np.zeros(0, dtype=np.int64)])
    total = counted + np.bincount(places, minlength=ranked.num_images)
    return np.where(total > 0, 2 * right / np.maximum(total, 1), 1.0)
