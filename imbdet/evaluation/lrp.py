"""Optimal Localization Recall Precision: one error per class at its best score threshold, and what it is made of.

Oksuz, Cam, Akbas, Kalkan, "Localization Recall Precision (LRP)", ECCV 2018, doi 10.1007/978-3-030-01234-2_31. For the
detections of a class with a score of s or more, of which N_TP found an object at IoU >= tau,

    LRP(s) = (sum over TP of (1 - IoU) / (1 - tau) + N_FP + N_FN) / (N_TP + N_FP + N_FN),    oLRP = min over s of LRP(s)

0 is perfect, 1 is nothing found. AP says nothing about how well boxes fit nor where to cut the scores; this does both.
"""

from typing import Any

import numpy as np

from .detections import as_detections
from .ground_truth import as_ground_truth
from .matching import Matches, match_detections


def optimal_lrp(records_or_gt: Any, detections: Any, tau: float = 0.5, max_dets: int = 100) -> dict[str, Any]:
    """Return oLRP of every class that has objects, and their mean.

    Args:
        records_or_gt, detections: as in `evaluate_coco`. tau: IoU from which an object counts as found, in [0, 1).

    Returns:
        {"oLRP", "oLRP_loc", "oLRP_fp", "oLRP_fn": means over the classes (loc over those that found anything),
        "per_class": rows of name, oLRP, loc (mean 1 - IoU of what was found, or None), fp (1 - precision, or None), fn
        (1 - recall), threshold (the score s of the minimum, or None where showing nothing is best)}. Without any
        object the means are None.

    Raises:
        ValueError: tau outside [0, 1), or input that `evaluate_coco` refuses too.
    """
    if not 0 <= tau < 1:
        raise ValueError(f"tau is {tau}; it must be at least 0 and below 1")
    truth = as_ground_truth(records_or_gt)
    found = as_detections(detections, truth.category_ids, truth.class_names, truth.keys)
    matches = match_detections(truth, found, tau, max_dets)
    rows = []
    for label, name in enumerate(truth.class_names):
        if matches.objects[label]:
            rows.append({"name": name, **_of_class(matches, label, tau)})
    means = {"oLRP": "oLRP", "oLRP_loc": "loc", "oLRP_fp": "fp", "oLRP_fn": "fn"}
    return {**{key: _mean([row[column] for row in rows]) for key, column in means.items()}, "per_class": rows}


def _of_class(matches: Matches, label: int, tau: float) -> dict[str, Any]:
    counted = (matches.label == label) & ~matches.ignored
    order = np.argsort(-matches.score[counted], kind="stable")
    score, iou = matches.score[counted][order], matches.iou[counted][order]
    hit = matches.object[counted][order] >= 0
    objects = int(matches.objects[label])
    # One candidate threshold per distinct score: detections of one score are shown or hidden together.
    last = np.append(score[1:] < score[:-1], True) if len(score) else np.zeros(0, dtype=bool)
    found, wrong = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    misfit = np.cumsum(np.where(hit, 1 - iou, 0))[last]
    lrp = (misfit / (1 - tau) + wrong + objects - found) / (objects + wrong)  # TP + FP + FN = objects + FP
    if not len(lrp) or lrp.min() >= 1:
        return {"oLRP": 1.0, "loc": None, "fp": None, "fn": 1.0, "threshold": None}
    best = int(np.argmin(lrp))
    return {
        "oLRP": float(lrp[best]),
        "loc": float(misfit[best] / found[best]) if found[best] else None,
        "fp": float(wrong[best] / (wrong[best] + found[best])),
        "fn": float(1 - found[best] / objects),
        "threshold": float(score[last][best]),
    }


def _mean(values: list[float | None]) -> float | None:
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else None
