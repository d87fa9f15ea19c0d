"""Which detection found which object: COCO's greedy matching at many IoU thresholds and area ranges, as flat arrays.

Notable: for what the evaluators do not hand out, measures per detection (LRP) and per image (the bootstrap). No loop
runs over images: the r-th best detection of every (image, class) chooses its object in one step, at all thresholds and
areas together, so there are as many steps as one image and class has detections that overlap anything.

Letters: D detections that count, M objects, K classes, T IoU thresholds, A area ranges, P pairs of a detection and an
object of its image and class that overlap, S detections of one step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .detections import Detections
from .ground_truth import GroundTruth, positions

ALL_AREAS = ((0.0, 1e10),)  #: "all" of COCO, square pixels, both ends included
MOST_PAIRS = 2**17  # that are looked at together, so that memory stays below some 100 MiB


@dataclass
class Matches:
    """The detections that count (the best `max_dets` per image and class), best first within each class and image.

    image: int64 (D,) index into the images; label: int32 (D,); score: float64 (D,);
    object: int64 (D,) index of the object that it found, else -1; iou: float64 (D,) with that object, else 0;
    ignored: bool (D,) on a crowd region: neither right nor wrong.
    objects: int64 (K,) objects of each class, crowd left out.
    """

    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    object: np.ndarray
    iou: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


@dataclass
class AreaMatches:
    """The same detections, matched at every threshold and, as COCO does it, for each area range anew.

    row: int64 (D,) row of the `Detections`; image: int64 (D,); label: int32 (D,); score: float64 (D,);
    object: int32 (D, T, A) index of the object or crowd region that it took, else -1;
    ignored: bool (D, T, A) neither right nor wrong: it took one that does not count, or took none and its own area is
    out of the range;
    counts: bool (M, A) the objects to be found: in the range, no crowd. inside: bool (D, A) its area is in the range.
    """

    row: np.ndarray
    image: np.ndarray
    label: np.ndarray
    score: np.ndarray
    object: np.ndarray
    ignored: np.ndarray
    counts: np.ndarray
    inside: np.ndarray


def match_detections(truth: GroundTruth, found: Detections, iou_threshold: float = 0.5, max_dets: int = 100) -> Matches:
    """Return best score first, each detection takes the object of its image and class that it overlaps most that is
    free.
    """
    matched = match_areas(truth, found, (iou_threshold,), ALL_AREAS, max_dets)
    taken, ignored = matched.object[:, 0, 0].astype(np.int64), matched.ignored[:, 0, 0]
    hit = np.flatnonzero((taken >= 0) & ~ignored)
    iou = np.zeros(len(taken))
    iou[hit] = overlaps(found.xywh[matched.row[hit]], truth.xywh[taken[hit]], np.zeros(len(hit), bool))
    objects = truth.class_counts()
    return Matches(matched.image, matched.label, matched.score, np.where(ignored, -1, taken), iou, ignored, objects)


def match_areas(
    truth: GroundTruth,
    found: Detections,
    iou_thresholds: Sequence[float],
    areas: Sequence[tuple[float, float]] = ALL_AREAS,
    max_dets: int = 100,
) -> AreaMatches:
    """Match at each threshold and for each range of areas (square pixels, both ends included).

    An object outside the range is taken only by a detection that gets none inside; who takes one is ignored.

    Raises:
        ValueError: a detection of an image that the ground truth does not have.
    """
    image = positions(truth.image_ids, found.image_id)
    if (image < 0).any():
        raise ValueError(f"{found.source}: image_id {found.image_id[np.argmax(image < 0)]} is not in {truth.name}")
    classes = max(truth.num_classes, 1)
    key = image * classes + found.label
    order = np.lexsort((-found.score, key))  # stable: among equal scores the earlier row first, as COCO has it
    key = key[order]
    rank = np.arange(len(key)) - np.searchsorted(key, key)
    order, key = order[rank < max_dets], key[rank < max_dets]

    thresholds = np.minimum(np.asarray(iou_thresholds, dtype=np.float64), 1 - 1e-10)
    low, high = np.asarray(areas, dtype=np.float64).reshape(-1, 2).T
    within = (truth.area[:, None] >= low) & (truth.area[:, None] <= high)
    counts = within & ~truth.crowd[:, None]
    own_area = (found.xywh[order, 2] * found.xywh[order, 3])[:, None]
    inside = (own_area >= low) & (own_area <= high)
    shape = (len(order), len(thresholds), len(low))
    taken = np.full(shape, -1, dtype=np.int32)
    for detection, candidate in _pairs(truth, key, classes):
        iou = overlaps(found.xywh[order[detection]], truth.xywh[candidate], truth.crowd[candidate])
        near = iou >= thresholds.min()
        _choose(taken, key, detection[near], candidate[near], iou[near], thresholds, counts, truth.crowd)
    ignored = np.where(taken >= 0, ~_at(counts, taken), ~inside[:, None])
    return AreaMatches(order, image[order], found.label[order], found.score[order], taken, ignored, counts, inside)


def _at(counts: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """(D, T, A) whether the object taken counts in the range; False where there is none."""
    if not len(counts):
        return np.zeros(taken.shape, dtype=bool)
    return counts[np.maximum(taken, 0), np.arange(counts.shape[1])] & (taken >= 0)


def _pairs(truth: GroundTruth, key: np.ndarray, classes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(P,) detections and (P,) objects of one image and class, in blocks that do not cut such a group in two.

    By detection, and then in the order of the objects.
    """
    object_key = truth.image * classes + truth.label
    object_order = np.argsort(object_key, kind="stable")
    object_key = object_key[object_order]
    first = np.searchsorted(object_key, key)
    many = np.searchsorted(object_key, key, side="right") - first  # objects beside each detection
    which = np.flatnonzero(many)
    ends = np.cumsum(many[which])
    groups = np.flatnonzero(np.append(key[which][1:] != key[which][:-1], True)) if len(which) else []
    start, done = 0, 0
    for number, last in enumerate(groups):
        if ends[last] - done < MOST_PAIRS and number + 1 < len(groups):
            continue
        block = which[start : last + 1]
        detection = np.repeat(block, many[block])
        within = np.arange(len(detection)) - np.repeat(np.cumsum(many[block]) - many[block], many[block])
        yield detection, object_order[first[detection] + within]
        start, done = last + 1, ends[last]


def _choose(
    taken: np.ndarray,
    key: np.ndarray,
    detection: np.ndarray,
    candidate: np.ndarray,
    iou: np.ndarray,
    thresholds: np.ndarray,
    counts: np.ndarray,
    crowd: np.ndarray,
) -> None:
    """Fill `taken` for the detections of some pairs; see `match_areas`."""
    each, start, length = np.unique(detection, return_index=True, return_counts=True)
    rank = np.arange(len(each)) - np.searchsorted(key[each], key[each])  # among those that overlap anything
    by_rank = np.argsort(rank, kind="stable")
    # Objects of this block only, numbered anew: who is free is kept per threshold and area.
    objects, place = np.unique(candidate, return_inverse=True)
    free = np.ones((len(objects), *taken.shape[1:]), dtype=bool)
    for step in np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]) if len(each) else ():
        best = np.full((len(step), *taken.shape[1:]), -1, dtype=np.int32)
        best_iou, best_counts = np.zeros(best.shape), np.zeros(best.shape, dtype=bool)
        for nth in range(int(length[step].max())):
            row = np.flatnonzero(length[step] > nth)
            pair = start[step[row]] + nth
            which, overlap = place[pair], iou[pair][:, None, None]
            real = counts[candidate[pair]][:, None]
            can = (overlap >= thresholds[:, None]) & (free[which] | crowd[candidate[pair]][:, None, None])
            # One that counts before one that does not; then the larger overlap, of equal ones the later.
            better = np.where(real == best_counts[row], overlap >= best_iou[row], real) | (best[row] < 0)
            take, at = can & better, np.broadcast_to(which[:, None, None], can.shape)
            best[row] = np.where(take, at, best[row])
            best_iou[row] = np.where(take, overlap, best_iou[row])
            best_counts[row] = np.where(take, real, best_counts[row])
        who, threshold, area = np.nonzero(best >= 0)
        free[best[who, threshold, area], threshold, area] = False
        taken[each[step[who]], threshold, area] = objects[best[who, threshold, area]]


def overlaps(boxes: np.ndarray, objects: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Return (P,) IoU of XYWH boxes (P, 4), one by one; with a crowd region the share of the detection that lies in
    it.
    """
    low = np.maximum(boxes[:, :2], objects[:, :2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], objects[:, :2] + objects[:, 2:])
    shared = (high - low).clip(min=0).prod(axis=1)
    area = boxes[:, 2] * boxes[:, 3]
    union = np.where(crowd, area, area + objects[:, 2] * objects[:, 3] - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
