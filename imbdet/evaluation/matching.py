"""Which detection found which object: COCO's greedy matching at one IoU threshold, as flat arrays.

Notable: a plain loop over (image, class) pairs, for what the evaluators do not hand out: measures per detection (LRP,
calibration) and per image (the bootstrap). About 10 seconds for 500k detections; the metrics themselves never need it.

Letters: D detections that count, M objects.
"""

from dataclasses import dataclass

import numpy as np

from .detections import Detections
from .ground_truth import GroundTruth, positions


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


def match_detections(
    truth: GroundTruth, found: Detections, iou_threshold: float = 0.5, max_dets: int = 100
) -> Matches:
    """Best score first, each detection takes the object of its image and class that it overlaps most that is free."""
    image = positions(truth.image_ids, found.image_id)
    if (image < 0).any():
        raise ValueError(f"{found.source}: image_id {found.image_id[np.argmax(image < 0)]} is not in {truth.name}")
    classes = max(truth.num_classes, 1)
    key = image * classes + found.label
    order = np.lexsort((-found.score, key))  # stable: among equal scores the earlier row first, as COCO has it
    key = key[order]
    rank = np.arange(len(key)) - np.searchsorted(key, key)
    order, key = order[rank < max_dets], key[rank < max_dets]

    object_key = truth.image * classes + truth.label
    object_order = np.argsort(object_key, kind="stable")
    object_key = object_key[object_order]
    matched, overlap = np.full(len(order), -1), np.zeros(len(order))
    ignored = np.zeros(len(order), dtype=bool)
    groups, starts = np.unique(key, return_index=True)
    ends = np.append(starts[1:], len(key))
    low, high = np.searchsorted(object_key, groups), np.searchsorted(object_key, groups, side="right")
    for group in np.flatnonzero(high > low):
        rows, candidates = slice(starts[group], ends[group]), object_order[low[group] : high[group]]
        crowd = truth.crowd[candidates]
        iou = _overlaps(found.xywh[order[rows]], truth.xywh[candidates], crowd)
        chosen = _greedy(iou[:, ~crowd], min(iou_threshold, 1 - 1e-10))
        hit = chosen >= 0
        matched[rows][hit] = candidates[~crowd][chosen[hit]]
        overlap[rows][hit] = iou[:, ~crowd][hit, chosen[hit]]
        ignored[rows] = ~hit & (iou[:, crowd] >= iou_threshold).any(axis=1)
    return Matches(
        image=image[order],
        label=found.label[order],
        score=found.score[order],
        object=matched,
        iou=overlap,
        ignored=ignored,
        objects=truth.class_counts(),
    )


def _greedy(iou: np.ndarray, threshold: float) -> np.ndarray:
    """Column taken by each row, in order of the rows, -1 where none that is free reaches the threshold."""
    chosen = np.full(len(iou), -1)
    free = iou.copy()
    for row in np.flatnonzero((iou >= threshold).any(axis=1)):
        best = free.shape[1] - 1 - int(np.argmax(free[row, ::-1]))  # of equal overlaps the last, as COCO has it
        if free[row, best] >= threshold:
            chosen[row] = best
            free[:, best] = -1
    return chosen


def _overlaps(boxes: np.ndarray, objects: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU of XYWH boxes, (D, M); with a crowd region the share of the detection that lies in it."""
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], (objects[:, :2] + objects[:, 2:])[None])
    shared = (high - low).clip(min=0).prod(axis=2)
    area = boxes[:, 2:].prod(axis=1)[:, None]
    union = np.where(crowd[None], area, area + objects[:, 2:].prod(axis=1)[None] - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
