"""TIDE's six error types for each class, which TIDE itself gives for all classes together only.

Bolya, Foley, Hays, Hoffman, ECCV 2020. A detection that found nothing (COCO's matching at `iou`) is, in this order:
Loc: its best object of its class has an IoU in [background, iou]; Cls: an object of another class has `iou` or more;
Dupe: an object of its class that is found already has `iou` or more; Bkg: no object reaches `background`; else Both.
Missed are the objects that are not found and that no Loc or Cls error would have found.
The delta of a class is how much its AP at `iou` rises when the errors of one type are mended: Loc and Cls errors become
right for the object they mean (only the best of each, if it is not found already, else they go), the rest goes, and
missed objects no longer count. A class of which all objects are missed has none left then and keeps its AP of 0, as in
TIDE: look at its count. The mean over the classes is what `error_types` gives.

Letters: D detections, M objects, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..evaluation.detections import Detections
from ..evaluation.ground_truth import GroundTruth
from ..evaluation.matching import ALL_AREAS, match_areas, overlaps

TYPES = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")


def errors_per_class(
    truth: GroundTruth, found: Detections, iou: float = 0.5, background: float = 0.1, max_dets: int = 100
) -> list[dict[str, Any]]:
    """Return a row a class with objects: {"name", "AP" at `iou`, "delta": {type: rise}, "counts": {type: number}}."""
    matched = match_areas(truth, found, (iou,), ALL_AREAS, max_dets)
    taken, ignored = matched.object[:, 0, 0], matched.ignored[:, 0, 0]
    hit = (taken >= 0) & ~ignored
    used = np.zeros(len(truth.label), dtype=bool)
    used[taken[hit]] = True
    wrong = np.flatnonzero(~hit & ~ignored)
    kind, meant = _kinds(truth, found, matched, wrong, used, iou, background)
    best = _best_of_each(matched.score[wrong], meant, used)
    real = ~truth.crowd
    missed = real & ~used
    missed[meant[meant >= 0]] = False
    rows = []
    for label, name in enumerate(truth.class_names):
        objects = int((real & (truth.label == label)).sum())
        if not objects:
            continue
        mine = (matched.label == label) & ~ignored
        score, right = matched.score[mine], hit[mine]
        base = average_precision(score, right, objects)
        delta, counts = {}, {}
        for number, what in enumerate(TYPES[:-1]):
            of_kind = wrong[kind == number]
            keep = mine.copy()
            keep[of_kind] = False
            mended = wrong[(kind == number) & best & (truth.label[meant] == label)] if number < 2 else of_kind[:0]
            scores = np.concatenate([matched.score[keep], matched.score[mended]])
            delta[what] = average_precision(scores, np.append(hit[keep], np.ones(len(mended), bool)), objects) - base
            counts[what] = int((matched.label[of_kind] == label).sum())
        counts["Miss"] = int((missed & (truth.label == label)).sum())
        delta["Miss"] = average_precision(score, right, objects - counts["Miss"]) - base
        rows.append({"name": name, "AP": base, "delta": delta, "counts": counts})
    return rows


def _kinds(
    truth: GroundTruth,
    found: Detections,
    matched: Any,
    wrong: np.ndarray,
    used: np.ndarray,
    iou: float,
    background: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(W,) number of the type in TYPES, (W,) object that a Cls or Loc error means, else -1; W wrong detections."""
    kind, meant = np.full(len(wrong), TYPES.index("Both")), np.full(len(wrong), -1)
    real = np.flatnonzero(~truth.crowd)
    order = real[np.argsort(truth.image[real], kind="stable")]
    image = truth.image[order]
    first, last = (
        np.searchsorted(image, matched.image[wrong]),
        np.searchsorted(image, matched.image[wrong], side="right"),
    )
    for i, (row, begin, end) in enumerate(zip(wrong, first, last, strict=True)):
        objects = order[begin:end]
        box = np.broadcast_to(found.xywh[matched.row[row]], (len(objects), 4))
        overlap = overlaps(box, truth.xywh[objects], np.zeros(len(objects), dtype=bool))
        same = truth.label[objects] == matched.label[row]
        own, other = np.where(same, overlap, 0.0), np.where(same, 0.0, overlap)
        if len(objects) and background <= own.max() <= iou:
            kind[i], meant[i] = TYPES.index("Loc"), objects[own.argmax()]
        elif len(objects) and other.max() >= iou:
            kind[i], meant[i] = TYPES.index("Cls"), objects[other.argmax()]
        elif len(objects) and (own * used[objects]).max() >= iou:
            kind[i] = TYPES.index("Dupe")
        elif not len(objects) or overlap.max() <= background:
            kind[i] = TYPES.index("Bkg")
    return kind, meant


def _best_of_each(score: np.ndarray, meant: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(W,) whether this error is the best one that means its object, which nothing has found."""
    best = np.zeros(len(score), dtype=bool)
    candidates = np.flatnonzero(meant >= 0)
    candidates = candidates[~used[meant[candidates]]]
    candidates = candidates[np.argsort(-score[candidates], kind="stable")]
    _, first = np.unique(meant[candidates], return_index=True)
    best[candidates[first]] = True
    return best


def average_precision(score: np.ndarray, right: np.ndarray, objects: int) -> float:
    """Return COCO's interpolated AP of one class: mean over 101 recalls of the best precision from there on."""
    if objects <= 0:
        return 0.0
    order = np.argsort(-score, kind="stable")
    found = np.cumsum(right[order])
    precision = found / np.arange(1, len(order) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(found / objects, np.linspace(0, 1, 101), side="left")
    return float(np.append(precision, 0.0)[np.minimum(place, len(precision))].mean())
