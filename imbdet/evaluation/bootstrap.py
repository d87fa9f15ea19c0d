"""COCO's AP on resampled images: how much of a number is due to the choice of the test images.

    weights = image_weights(len(truth), draws=1000)             # (N, B), the same for every run that is compared
    draws = rank_detections(truth, found).metrics(weights)      # (B, K, C), AP of every draw and class
    over_classes(draws, groups)["AP"]                           # (B,)

Efron's bootstrap draws N of the N images with replacement, B times, and evaluates each draw (images, not boxes: the
boxes of one image go together). Notable: nothing is matched again. An image that was drawn w times counts w times, so a
draw only weighs each class's detections, in their order by score; with all weights at one the precision is the
evaluator's, bit for bit. And since only detections that found an object carry the interpolated precision, the work is
on those; how many false alarms lie before each comes from one running sum per class.

Letters: N images, B draws, D detections, P detections of a class that found an object, M objects, K classes, T IoU
thresholds, A area ranges, C columns of COLUMNS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .detections import as_detections
from .ground_truth import as_ground_truth
from .matching import match_areas, overlaps
from .metrics import AREAS, THRESHOLDS, precisions

AREA_RANGES = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))  #: all, small, medium, large
#: what is measured per class -> the thresholds and the area range of which it is the mean
AVERAGES = {metric.name: (metric.thresholds, AREAS.index(metric.area)) for metric in precisions()}
COLUMNS = (*AVERAGES, "oLRP")  #: oLRP is at IoU 0.5, over all areas, see lrp.py
RECALLS = np.linspace(0, 1, 101)  #: of the interpolated precision, the evaluator's own floats
_LATE = np.flatnonzero(RECALLS > np.arange(101) / 100).tolist()  # those that lie above k / 100 by rounding
_TINY = np.spacing(1)  # which COCO adds to every denominator
_MOST = 2**22  # numbers in one array; draws are taken in parts that keep to it


def image_weights(num_images: int, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """Return float32 (N, B): how often each image is in each draw of N images with replacement; every column sums
    to N.
    """
    if num_images < 1 or draws < 1:
        raise ValueError(f"a bootstrap needs images and draws, got {num_images} images and {draws} draws")
    rng = np.random.default_rng(seed)
    weights = np.empty((num_images, draws), dtype=np.float32)
    for draw in range(draws):
        weights[:, draw] = np.bincount(rng.integers(0, num_images, num_images), minlength=num_images)
    return weights


def rank_detections(records_or_gt: Any, detections: Any, max_dets: int = 100) -> RankedDetections:
    """Match once, as `evaluate_coco` does, and sort each class by score.

    Args:
        records_or_gt, detections: as in `evaluate_coco`. max_dets: the last of its limits.

    Raises:
        ValueError: input that `evaluate_coco` refuses.
    """
    truth = as_ground_truth(records_or_gt)
    found = as_detections(detections, truth.category_ids, truth.class_names, truth.keys)
    matches = match_areas(truth, found, THRESHOLDS, AREA_RANGES, max_dets)
    # Of equal scores the image of the lower id comes first: COCO sorts images by id, then all scores stably.
    place = np.argsort(np.argsort(truth.image_ids))
    order = np.lexsort((place[matches.image], -matches.score, matches.label))
    true = ((matches.object >= 0) & ~matches.ignored)[order]
    hit = np.flatnonzero(true[:, 0, 0])
    misfit = np.zeros(len(order))
    boxes, objects = found.xywh[matches.row[order[hit]]], truth.xywh[matches.object[order[hit], 0, 0]]
    misfit[hit] = (1 - overlaps(boxes, objects, np.zeros(len(hit), dtype=bool))) / (1 - THRESHOLDS[0])
    return RankedDetections(
        image=matches.image[order],
        score=matches.score[order],
        true=np.ascontiguousarray(true.transpose(1, 2, 0)),
        skipped=np.ascontiguousarray(matches.ignored[order].transpose(1, 2, 0)),
        inside=np.ascontiguousarray(matches.inside[order].T),
        misfit=misfit,
        starts=np.searchsorted(matches.label[order], np.arange(truth.num_classes + 1)),
        objects=tuple(
            tuple(truth.image[(truth.label == label) & counts] for counts in matches.counts.T)
            for label in range(truth.num_classes)
        ),
        num_images=len(truth),
    )


@dataclass(frozen=True)
class RankedDetections:
    """One run's detections with what each found, class after class, best score first.

    image: int64 (D,) index of the image; score: float64 (D,); starts: int64 (K + 1,), class k is rows
    `starts[k]:starts[k + 1]`.
    true: bool (T, A, D) found an object that counts; skipped: bool (T, A, D) neither right nor wrong; inside: bool
    (A, D) its own area is in the range, without which it is no false alarm there.
    misfit: float64 (D,) of what was found at IoU 0.5, (1 - IoU) / 0.5, else 0.
    objects[k][a]: the images of the objects of class k that count in area range a, one entry per object.
    """

    image: np.ndarray
    score: np.ndarray
    true: np.ndarray
    skipped: np.ndarray
    inside: np.ndarray
    misfit: np.ndarray
    starts: np.ndarray
    objects: tuple[tuple[np.ndarray, ...], ...]
    num_images: int

    def metrics(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Map whole weights (N, B) (None: all one, B = 1) -> float64 (B, K, C), columns as in COLUMNS.

        NaN where a draw holds no object of the class (in the area range), which the evaluator leaves out of its means.
        With weights of float64 every number is the evaluator's. Those of float32 take half the time; then recall is not
        rounded as COCO does at ten of its points (`points_reached`), which moves the AP of a class by less than .01.
        """
        weights = np.ones((self.num_images, 1)) if weights is None else weights
        if weights.ndim != 2 or len(weights) != self.num_images:
            raise ValueError(f"weights must be ({self.num_images}, draws), got {weights.shape}")
        values = np.full((weights.shape[1], len(self.objects), len(COLUMNS)), np.nan)
        for label in range(len(self.objects)):
            most = int(self.true[..., self.starts[label] : self.starts[label + 1]].sum(axis=2).max(initial=1))
            step = max(1, _MOST // max(most, len(self.objects[label][0]), 1))
            for first in range(0, weights.shape[1], step):
                part = slice(first, first + step)
                values[part, label] = _OneClass(self, label, weights[:, part]).metrics()
        return values

    def images_with_objects(self, labels: Sequence[int], metric: str = "AP") -> int:
        """Return how many images hold an object of these classes that counts for the metric (APs: a small one)."""
        area = AVERAGES.get(metric, AVERAGES["AP"])[1]
        return len(np.unique(np.concatenate([self.objects[label][area] for label in labels] or [np.zeros(0)])))


class _OneClass:
    """One class under B draws. Rows of B numbers are added one by one: cheaper than any accumulation along an axis.

    rows: the weights of each image, (B,), and at last a row of zeros for detections that only mark a place.
    """

    def __init__(self, ranked: RankedDetections, label: int, weights: np.ndarray):
        own = slice(ranked.starts[label], ranked.starts[label + 1])
        self.image, self.score, self.misfit = ranked.image[own], ranked.score[own], ranked.misfit[own]
        self.true, self.skipped = ranked.true[..., own], ranked.skipped[..., own]
        self.inside = ranked.inside[:, own]
        self.zero = np.zeros(weights.shape[1], weights.dtype)
        self.rows = [*weights, self.zero]
        self.objects = [weights[images].sum(axis=0) for images in ranked.objects[label]]

    def metrics(self) -> np.ndarray:
        """Return every metric of every draw, (B, C)."""
        ap = np.zeros((len(THRESHOLDS), len(AREA_RANGES), len(self.zero)))
        for area, objects in enumerate(self.objects):
            at = np.flatnonzero(self.true[:, area].any(axis=0))
            before = self._running(self.inside[area], at)
            for threshold in range(len(THRESHOLDS)):
                precision, found = self.curve(threshold, area, at, before)
                if len(precision):
                    # A precision holds for the recall points that are reached first where it is.
                    points = points_reached(found, objects)
                    ap[threshold, area] = points[0] * precision[0]
                    ap[threshold, area] += np.einsum("pb,pb->b", points[1:] - points[:-1], precision[1:])
            ap[:, area, objects == 0] = np.nan
        ap /= len(RECALLS)
        columns = [ap[thresholds, area].mean(axis=0) for thresholds, area in AVERAGES.values()]
        return np.stack([*columns, self.lrp()], axis=1)

    def curve(self, threshold: int, area: int, at: np.ndarray, before: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (P, B) interpolated precision at each detection that found an object, and the objects found up to
        there.

        at: places that include those; before: (len(at), B) detections inside the area range up to each of them.
        """
        true, skipped, inside = self.true[threshold, area], self.skipped[threshold, area], self.inside[area]
        places = np.flatnonzero(true)
        found = self._running(true, places)
        # Right or wrong up to here: those inside without the skipped ones, and with those outside that are right.
        precision = before[np.searchsorted(at, places)]
        if (skipped & inside).any():
            precision -= self._running(skipped & inside, places)
        if (true & ~inside).any():
            precision += self._running(true & ~inside, places)
        precision += _TINY
        np.divide(found, precision, out=precision)
        rows = list(precision[::-1])
        for better, row in zip(rows, rows[1:], strict=False):
            np.maximum(better, row, out=row)
        return precision, found

    def lrp(self) -> np.ndarray:
        """Return (B,) the smallest LRP over the score thresholds; 1 where showing nothing is best."""
        true, objects = self.true[0, 0], self.objects[0]
        # Detections of one score are shown together; only a threshold that shows one more object can be the best.
        ends = np.unique(np.searchsorted(-self.score, -self.score[true], side="right") - 1)
        shown, found = self._running(~self.skipped[0, 0], ends), self._running(true, ends)
        misfit = self._running(true, ends, self.misfit)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = (misfit + shown - 2 * found + objects) / (objects + shown - found)
        return np.where(objects > 0, value.min(axis=0, initial=1), np.nan)

    def _running(self, who: np.ndarray, at: np.ndarray, factor: np.ndarray | None = None) -> np.ndarray:
        """(len(at), B): weights of the detections in the mask `who` (times `factor`), summed up to and with each place.

        at: ascending places among the class's detections.
        """
        sums = np.empty((len(at), len(self.zero)), self.zero.dtype)
        if not len(at):
            return sums
        wanted = who[: at[-1] + 1].copy()
        wanted[at] = True
        places = np.flatnonzero(wanted)
        image = np.where(who[places], self.image[places], len(self.rows) - 1).tolist()
        so_far, targets = self.zero, list(sums)
        for i, target, place in zip(image, np.searchsorted(at, places).tolist(), places.tolist(), strict=True):
            row = self.rows[i] if factor is None else self.rows[i] * float(factor[place])
            so_far = np.add(so_far, row, out=targets[target])
        return sums


def points_reached(found: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Map found, (P, B), and to be found, (B,) -> (P, B) how many of COCO's recall points are at most their ratio.

    In float64 as COCO has it: its point 0.35 is a bit above 35 / 100, so 35 of 100 objects do not reach it. In float32
    they do.
    """
    objects = np.where(objects > 0, objects, 1).astype(found.dtype)
    points = found * (100 / objects)
    points += 1 + 256 * np.finfo(found.dtype).eps  # a recall of exactly k % may have come out a bit below k
    np.floor(points, out=points)
    for k in _LATE if found.dtype == np.float64 else ():
        columns = np.flatnonzero(objects * k % 100 == 0)
        points[:, columns] -= found[:, columns] == objects[columns] * k / 100
    return points


def over_classes(draws: np.ndarray, groups: Mapping[str, Sequence[int]] | None = None) -> dict[str, np.ndarray]:
    """Map (B, K, C) of `metrics` -> {metric: (B,)}, means over the classes that have objects; NaN where none has.

    groups: {"rare": labels, "common": labels, "frequent": labels} adds APr, APc and APf.
    """
    values = {name: _mean(draws[:, :, column]) for column, name in enumerate(COLUMNS)}
    if groups is not None:
        values.update({m.name: _mean(draws[:, list(groups[m.group]), 0]) for m in precisions(groups=True)})
    return values


def _mean(values: np.ndarray) -> np.ndarray:
    """(B, K) -> (B,), NaN left out."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(there, values, 0).sum(axis=1) / there.sum(axis=1)
