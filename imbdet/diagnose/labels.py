"""Section 7, suspicious labels: where a run disagrees with the annotations, surely.

Sure is a score from which on at least PRECISE of the class's detections are right (IoU 0.5), and FEWEST of them; so a
class that the run knows badly accuses nobody. Three kinds: "missing" (a sure detection that touches no object),
"class" (it lies on an object of another class, IoU 0.5, and on none of its own), "unseen" (no detection of any class
and score overlaps the object by 0.1). All are to be looked at, none is an error yet.

Letters: D detections, M objects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..data.records import Records
from ..evaluation.detections import Detections
from ..evaluation.ground_truth import GroundTruth, positions
from ..evaluation.matching import Matches, match_detections, overlaps

FEWEST = 5
PRECISE = 0.8
MOST = 60  #: rows
RULE = (
    "A detection is sure from the score on at which 80 % of its class's are right. missing: it touches no object; "
    "class: it lies on an object of another class; unseen: no detection touches the object. To be looked at: the run "
    "may be wrong."
)


def suspicious_labels(records: Records, truth: GroundTruth, found: Detections) -> dict[str, Any]:
    """Return {"rule", "counts": {kind: number}, "rows": [{"kind", "label", "found", "score", "iou", "image", "name",
    "object", "xywh"}], the surest first}.
    """
    matches = match_detections(truth, found)
    sure = np.array([_sure_from(matches, label) for label in range(truth.num_classes)])
    image = positions(truth.image_ids, found.image_id)
    best_own, best_other, other = _overlap(truth, found, image)
    rows = []
    for row in np.flatnonzero(found.score >= sure[found.label]):
        if max(best_own[row], best_other[row]) < 0.1:
            rows.append(_row("missing", records, truth, found, row, image[row], -1, best_other[row]))
        elif best_other[row] >= 0.5 and best_own[row] < 0.1:
            rows.append(_row("class", records, truth, found, row, image[row], other[row], best_other[row]))
    counts = {kind: sum(r["kind"] == kind for r in rows) for kind in ("missing", "class")}
    rows.sort(key=lambda r: -r["score"])
    unseen = _unseen(truth, found, image)
    counts["unseen"] = len(unseen)
    known = np.isfinite(sure)
    unseen = [index for index in unseen if known[truth.label[index]]]
    for index in unseen[: MOST // 3]:
        label = truth.class_names[truth.label[index]]
        place = int(truth.image[index])
        rows.append(
            {"kind": "unseen", "label": label, "found": "nothing", "score": None, "iou": None, "image": place}
            | {"name": records.images.name(place), "object": int(index), "xywh": truth.xywh[index].tolist()}
        )
    return {"rule": RULE, "counts": counts, "rows": rows[:MOST]}


def _sure_from(matches: Matches, label: int) -> float:
    """The lowest score that is sure, infinite where none is."""
    mine = (matches.label == label) & ~matches.ignored
    order = np.argsort(-matches.score[mine], kind="stable")
    right = np.cumsum(matches.object[mine][order] >= 0)
    good = np.flatnonzero((right >= FEWEST) & (right >= PRECISE * np.arange(1, len(right) + 1)))
    return float(matches.score[mine][order][good[-1]]) if len(good) else np.inf


def _row(kind, records, truth, found, row, image, index, iou) -> dict[str, Any]:
    label = "nothing" if index < 0 else truth.class_names[truth.label[index]]
    return {
        "kind": kind,
        "label": label,
        "found": truth.class_names[found.label[row]],
        "score": float(found.score[row]),
        "iou": float(iou),
        "image": int(image),
        "name": records.images.name(int(image)),
        "object": int(index),
        "xywh": found.xywh[row].tolist(),
    }


def _pairs(truth: GroundTruth, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P,) detections and (P,) objects of one image."""
    order = np.argsort(truth.image, kind="stable")
    first = np.searchsorted(truth.image[order], image)
    many = np.searchsorted(truth.image[order], image, side="right") - first
    detection = np.repeat(np.arange(len(image)), many)
    within = np.arange(len(detection)) - np.repeat(np.cumsum(many) - many, many)
    return detection, order[first[detection] + within]


def _overlap(truth: GroundTruth, found: Detections, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(D,) highest IoU with an object of its class, (D,) of another class, (D,) that object; crowd counts for both."""
    detection, index = _pairs(truth, image)
    iou = overlaps(found.xywh[detection], truth.xywh[index], truth.crowd[index])
    same = (truth.label[index] == found.label[detection]) | truth.crowd[index]
    own, best, which = np.zeros(len(image)), np.zeros(len(image)), np.full(len(image), -1)
    np.maximum.at(own, detection[same], iou[same])
    np.maximum.at(best, detection[~same], iou[~same])
    is_best = ~same & (iou == best[detection]) & (iou > 0)
    which[detection[is_best]] = index[is_best]
    return own, best, which


def _unseen(truth: GroundTruth, found: Detections, image: np.ndarray) -> list[int]:
    """Objects that no detection overlaps by 0.1, the largest first."""
    detection, index = _pairs(truth, image)
    iou = overlaps(found.xywh[detection], truth.xywh[index], np.zeros(len(index), dtype=bool))
    best = np.zeros(len(truth.label))
    np.maximum.at(best, index, iou)
    missed = np.flatnonzero((best < 0.1) & ~truth.crowd)
    return missed[np.argsort(-truth.area[missed], kind="stable")].tolist()
