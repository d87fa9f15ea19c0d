"""Section 8, after a run: what the imbalance has come to, on the split that the run is evaluated on.

Letters: D detections, M objects, K classes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.loader import EvalLoader
from ..data.records import Records
from ..engine.trained import load_run
from ..evaluation.backends import hotcoco_matched, renumbered
from ..evaluation.classes import match_classes
from ..evaluation.coco import evaluate_coco
from ..evaluation.detections import Detections
from ..evaluation.errors import error_types
from ..evaluation.ground_truth import GroundTruth, as_ground_truth
from ..evaluation.inference import predict
from ..evaluation.lrp import optimal_lrp
from ..evaluation.matching import match_detections
from ..evaluation.result import EvaluationWarning
from ..runs import RunFolder
from .overlap import crowding
from .place import relative
from .structures import Missing
from .tide import errors_per_class

BINS = 10  #: of the calibration
CROWDED = 0.3  #: highest IoU with another object from which an object counts as crowded
NEAR = 0.02  #: of the side; a box nearer to the border than this is at the border


@dataclass
class Trained:
    """A run opened: its detections on a split, and its model where there is one."""

    found: Detections
    records: Records
    split: str
    predictor: Any = None


def open_run(run: str | Path, splits: dict[str, Records], split: str, model: bool = True) -> Trained:
    """The run's detections on a split: its detections.json if they are of these images, else its model's.

    Raises:
        FileNotFoundError: no such run. ValueError: a run of other classes, or a file that cannot be read.
        Missing: the split is not there.
    """
    folder = RunFolder(run).checked()
    if split not in splits:
        raise Missing(f"The run is to be evaluated on {split!r}, but the data has {', '.join(splits)}: --split")
    records = splits[split]
    predictor = None
    if model and not folder.of_detectron2 and list(folder.path.glob("*.pth")):
        predictor = load_run(folder.path, device="cpu")
        if not set(predictor.class_names) & set(records.class_names):
            raise ValueError(
                f"{folder}: a run of other data: it knows {_some(predictor.class_names)}, the data has "
                f"{_some(records.class_names)}"
            )
    found = _saved(folder, records)
    if found is None:
        if predictor is None:
            raise Missing(f"{folder} holds neither weights nor detections of this data, so nothing can be said of it")
        found = _predict(predictor, records)
    return Trained(found, records, split, predictor)


def diagnose_run(trained: Trained, train: Records) -> dict[str, Any]:
    """AP, precision and recall per class against frequency, errors, confusion, calibration, and AP of subsets.

    Raises:
        Missing: no object or no detection to judge.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvaluationWarning)
        truth, found = match_classes(as_ground_truth(trained.records), trained.found)
        if not truth.class_counts().sum():
            raise Missing(f"{trained.split} has no object, so nothing of the run can be judged there")
        result = evaluate_coco(truth, found, train)
        lrp = optimal_lrp(truth, found)
        best = {row["name"]: row for row in lrp["per_class"]}
        tide = {row["name"]: row for row in errors_per_class(truth, found)}
        rows = []
        for row in result.per_class:
            if not row["boxes"]:
                continue
            mine = best[row["name"]]
            precision = None if mine["fp"] is None else 1 - mine["fp"]
            rows.append(
                {
                    **{key: row[key] for key in ("name", "group", "train_boxes", "boxes", "AP", "AP50")},
                    "precision": precision,
                    "recall": 1 - mine["fn"],
                    "threshold": mine["threshold"],
                    **{key: mine[key] for key in ("oLRP", "loc", "fp", "fn")},
                    "tide": tide[row["name"]]["delta"],
                    "tide_counts": tide[row["name"]]["counts"],
                }
            )
        rows.sort(key=lambda row: -(row["train_boxes"] or 0))
        shown = above_thresholds(truth, found, {row["name"]: row["threshold"] for row in rows})
        return {
            "split": trained.split,
            "metrics": result.metrics,
            "oLRP": {key: lrp[key] for key in ("oLRP", "oLRP_loc", "oLRP_fp", "oLRP_fn")},
            "rows": rows,
            "frequency_correlation": _rank_correlation(rows),
            "tide": error_types(truth, found),
            "confusion": confusion(truth, shown),
            "calibration": calibration(truth, found),
            "subsets": subsets(trained.records, truth, found),
            "paradox": paradox(truth, shown, rows),
            "notes": [*result.notes, *result.warnings],
        }


def above_thresholds(truth: GroundTruth, found: Detections, thresholds: dict[str, float | None]) -> Detections:
    """The detections that reach their class's best threshold (that of its oLRP); none of a class without one."""
    limit = np.array(
        [thresholds.get(name) if thresholds.get(name) is not None else np.inf for name in truth.class_names]
    )
    return found.take(found.score >= limit[found.label])


def confusion(truth: GroundTruth, shown: Detections) -> dict[str, Any]:
    """Objects by the class that they were found as, IoU 0.5, whatever the class: hotcoco's matrix.

    Returns:
        {"names": K names and "background", "matrix": (K + 1, K + 1), rows the object's class, columns the detection's;
        the last column are objects not found, the last row detections of nothing}.
    """
    matrix = hotcoco_matched(*renumbered(truth, shown), [1, 10, 100]).confusion_matrix(iou_thr=0.5)["matrix"]
    place = np.append(np.argsort(np.argsort(truth.category_ids)), truth.num_classes)
    names = [*truth.class_names, "background"]
    return {"names": names, "matrix": np.asarray(matrix, dtype=np.int64)[np.ix_(place, place)].tolist()}


def calibration(truth: GroundTruth, found: Detections) -> dict[str, Any]:
    """Score against precision at IoU 0.5, in BINS equal bins of the score.

    Returns:
        {"edges", "score": mean per bin, "precision": per bin (None where empty), "count", "error": expected calibration
        error, the mean over the detections of |precision - score| of their bin; detections on crowd regions left out}.
    """
    matches = match_detections(truth, found)
    counted = ~matches.ignored
    score, right = matches.score[counted], matches.object[counted] >= 0
    bin_of = np.minimum((score * BINS).astype(int), BINS - 1).clip(0)
    count = np.bincount(bin_of, minlength=BINS)
    sums = [np.bincount(bin_of, values, minlength=BINS) for values in (score, right)]
    means = [np.divide(total, count, out=np.full(BINS, np.nan), where=count > 0) for total in sums]
    gap = np.abs(means[1] - means[0])[count > 0]
    return {
        "edges": np.linspace(0, 1, BINS + 1).tolist(),
        "score": [None if np.isnan(v) else float(v) for v in means[0]],
        "precision": [None if np.isnan(v) else float(v) for v in means[1]],
        "count": count.tolist(),
        "error": float((gap * count[count > 0]).sum() / count.sum()) if count.sum() else None,
    }


def subsets(records: Records, truth: GroundTruth, found: Detections) -> list[dict[str, Any]]:
    """AP of objects in one place, or crowded or not: the others count as regions to be ignored, as crowd regions do."""
    if len(truth.label) != records.num_objects:
        return []
    everything = np.ones(records.num_objects, dtype=bool)
    centers, border = relative(records, everything)
    middle = (np.abs(centers - 0.5) < 1 / 6).all(axis=1)
    own, other, _ = crowding(records)
    crowded = np.maximum(own, other) >= CROWDED
    chosen = {
        "center in the middle ninth": middle,
        "center outside of it": ~middle,
        "box at the border": border < NEAR,
        "box away from the border": border >= NEAR,
        f"overlaps another by IoU {CROWDED} or more": crowded,
        "overlaps none so much": ~crowded,
    }
    rows = []
    for name, mask in chosen.items():
        part = replace(truth, crowd=truth.crowd | ~mask, notes=[], warnings=[])
        objects = int((~part.crowd).sum())
        ap = evaluate_coco(part, found)["AP"] if objects else None
        rows.append({"name": name, "objects": objects, "AP": ap})
    return rows


def paradox(truth: GroundTruth, shown: Detections, rows: list[dict[str, Any]]) -> dict[str, float | None]:
    """Pooled accuracy beside the mean over classes: where they part, the frequent classes hide the others.

    pooled: share of all objects that are found with their class at the best thresholds; mean_of_classes: the mean of
    that share over classes; always_most_frequent: the pooled accuracy of naming each object after the largest class;
    AP: the mean over classes.
    """
    matches = match_detections(truth, shown)
    hit = matches.object >= 0
    found = np.bincount(truth.label[matches.object[hit]], minlength=truth.num_classes)
    counts = truth.class_counts()
    present = counts > 0
    values = [row["AP"] for row in rows if row["AP"] is not None]
    return {
        "pooled": float(found.sum() / counts.sum()),
        "mean_of_classes": float((found[present] / counts[present]).mean()),
        "always_most_frequent": float(counts.max() / counts.sum()),
        "AP": float(np.mean(values)) if values else None,
    }


def _rank_correlation(rows: list[dict[str, Any]]) -> float | None:
    """Spearman's, of AP and training boxes; None below three classes or where all are equal."""
    pairs = [(row["train_boxes"], row["AP"]) for row in rows if row["train_boxes"] and row["AP"] is not None]
    if len(pairs) < 3:
        return None
    ranks = np.array([_ranks(np.array(column, dtype=float)) for column in zip(*pairs, strict=True)])
    return float(np.corrcoef(ranks)[0, 1]) if ranks.std(axis=1).min() > 0 else None


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0, equal values share the mean of theirs."""
    unique, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return ((ends - counts + ends - 1) / 2)[place]


def _saved(folder: RunFolder, records: Records) -> Detections | None:
    path = folder.detections()
    if not path.is_file():
        return None
    found = Detections.from_coco(path, records.category_ids, records.class_names)
    return found if np.isin(found.image_id, records.image_ids).all() else None


def _predict(predictor: Any, records: Records) -> Detections:
    loader = EvalLoader(records, predictor.resize, batch_size=4, num_workers=0, tiles=predictor.tiles)
    return predict(predictor.model, loader, class_names=predictor.class_names)


def _some(names: Any) -> str:
    return ", ".join(list(names)[:5]) + (" ..." if len(names) > 5 else "")
