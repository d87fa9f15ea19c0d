"""COCO's box metrics of a split: the one evaluator of this project.

    result = evaluate_coco(records, detections, train_records)
    result["AP"], result["AP50"], result.to_text()

Notable: the twelve numbers are pycocotools's, bit for bit, also where it has -1 for "there is no such object". What
pycocotools answers in silence with a surprising number is put right or said here (`result.notes`, `result.warnings`).

Letters: T IoU thresholds, R recall points, K classes, A area ranges, L limits of detections.
"""

from __future__ import annotations

import warnings as python_warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.class_names import match_names
from ..data.statistics import GROUPS, frequency_groups
from .backends import Curves, accumulate
from .detections import Detections, as_detections
from .ground_truth import GroundTruth, as_ground_truth, positions
from .hints import why_so_low
from .metrics import AREAS, METRICS, RECALL, precisions
from .result import EvaluationWarning, Result


def evaluate_coco(
    records_or_gt: Any,
    detections: Any,
    train_records: Any = None,
    max_dets: Sequence[int] = (1, 10, 100),
    backend: str = "auto",
) -> Result:
    """Compute COCO metrics, AP per class, and AP of rare, common and frequent classes.

    Args:
        records_or_gt: Records, a COCO ground truth file, its dict, or a GroundTruth. All its images count, also those
            without a detection.
        detections: Detections, a COCO results file, or its list; may be empty.
        train_records: what the model was trained on, in the same forms; its counts make the frequency groups. Classes
            are matched by name.
        max_dets: how many detections of the best score count, per image and class; AP uses the last.
        backend: "auto", "hotcoco" or "pycocotools".

    Raises:
        ValueError: what is wrong with the input, with file, row and value. FileNotFoundError: no such file.

    Example:
        >>> truth = {"images": [{"id": 7}], "categories": [{"id": 1, "name": "cat"}],
        ...          "annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 40, 40]}]}
        >>> result = evaluate_coco(truth, [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 40, 40], "score": 0.9}])
        >>> round(result["AP"], 6)
        1.0
    """
    max_dets = _limits(max_dets)
    truth = as_ground_truth(records_or_gt)
    if not len(truth):
        raise ValueError(f"{truth.name}: there is no image to evaluate on")
    found = as_detections(detections, truth.category_ids, truth.class_names, truth.keys)
    check_images(truth, found)
    curves = accumulate(truth, found, max_dets, backend)
    notes, warnings = _remarks(truth, found, max_dets)
    metrics = summarize(curves)
    per_class = _class_table(curves, truth)
    groups = None
    if train_records is not None:
        groups, more = _add_train_counts(per_class, train_records)
        warnings += more
        metrics.update({metric.name: groups[metric.group]["AP"] for metric in precisions(groups=True)})
    if not isinstance(detections, Detections):  # a file may hold a slip; a model in its first epoch is just bad
        warnings += why_so_low(truth, found, metrics["AP50"])
    for message in warnings:
        python_warnings.warn(message, EvaluationWarning, stacklevel=2)
    return Result(
        metrics=metrics,
        per_class=per_class,
        groups=groups,
        evaluator=_evaluator(curves),
        images=len(truth),
        objects=int(truth.class_counts().sum()),
        detections=len(found),
        data=truth.name,
        notes=notes,
        warnings=warnings,
        curves=curves,
    )


def _limits(max_dets: Sequence[int]) -> tuple[int, ...]:
    found = tuple(sorted({int(m) for m in max_dets}))
    if not found or found[0] < 1:
        raise ValueError(f"max_dets is {found}; it must hold numbers of at least 1, such as (1, 10, 100)")
    return found


def _evaluator(curves: Curves) -> dict[str, Any]:
    """By what the numbers were made: the library with its version, and its settings."""
    thresholds = [round(float(t), 10) for t in curves.iou_thresholds]
    settings = {"iou_type": "bbox", "max_dets": list(curves.max_dets), "iou_thresholds": thresholds}
    return {**curves.evaluator, **settings}


def summarize(curves: Curves) -> dict[str, float]:
    """Return the twelve numbers and AP90, in pycocotools's way: the mean of what is not -1, and -1 if nothing is."""
    precision, recall = curves.precision, curves.recall

    def ap(area: str = "all", iou: float | None = None) -> float:
        chosen = slice(None) if iou is None else np.isclose(curves.iou_thresholds, iou)
        return _mean(precision[chosen][..., AREAS.index(area), -1])

    metrics = {metric.name: ap(metric.area, metric.iou) for metric in precisions()}
    for place, limit in enumerate(curves.max_dets):
        metrics[f"AR{limit}"] = _mean(recall[:, :, 0, place])
    for metric in METRICS:
        if metric.section == RECALL and metric.area != "all":
            metrics[metric.name] = _mean(recall[:, :, AREAS.index(metric.area), -1])
    return metrics


def _mean(values: np.ndarray) -> float:
    values = values[values > -1]
    return float(np.mean(values)) if len(values) else -1.0


def _class_table(curves: Curves, truth: GroundTruth) -> list[dict]:
    """A row per class, in the order of the labels; None where the class has no object."""
    boxes, images = truth.class_counts(), truth.image_counts()
    for label, counts in truth.left_out.items():
        boxes[label], images[label] = counts
    place = np.argsort(curves.classes)
    half = int(np.argmin(abs(curves.iou_thresholds - 0.5)))
    rows = []
    for label, name in enumerate(truth.class_names):
        precision = curves.precision[:, :, place[label], 0, -1]
        numbers = {
            "AP": _mean(precision),
            "AP50": _mean(precision[half]),
            "AR": _mean(curves.recall[:, place[label], 0, -1]),
        }
        rows.append(
            {
                "name": name,
                "category_id": int(truth.category_ids[label]),
                **{key: None if value == -1.0 else value for key, value in numbers.items()},
                "boxes": int(boxes[label]),
                "images": int(images[label]),
            }
        )
    return rows


def _add_train_counts(per_class: list[dict], train_records: Any) -> tuple[dict, list[str]]:
    """Train counts and group into each row; AP of each group. Warns of classes that train does not know or has no box
    of."""
    train = train_records if hasattr(train_records, "image_counts") else as_ground_truth(train_records)
    labels = match_names([row["name"] for row in per_class], train.class_names)
    boxes, images, made = train.class_counts(), train.image_counts(), frequency_groups(train)
    for row, k in zip(per_class, labels, strict=True):
        known = k >= 0
        row["train_boxes"], row["train_images"] = (int(boxes[k]), int(images[k])) if known else (None, None)
        row["group"] = made.of(k) if known else None
    groups: dict[str, Any] = {"rule": made.rule}
    for name in GROUPS:
        members = [row for row in per_class if row["group"] == name]
        values = [row["AP"] for row in members if row["AP"] is not None]
        groups[name] = {
            "AP": float(np.mean(values)) if values else -1.0,
            "classes": len(members),
            "classes_evaluated": len(values),
            "train_boxes": sum(row["train_boxes"] for row in members),
            "boxes": sum(row["boxes"] for row in members),
        }
    unknown = [row["name"] for row in per_class if row["train_boxes"] is None]
    unlearned = [row["name"] for row in per_class if row["train_boxes"] == 0 and row["boxes"]]
    found = ((unknown, "are not in the train data"), (unlearned, "are here, but have no box in the train data"))
    return groups, [f"{len(n)} classes {what} {train.name}, so in no group: {n[:5]}" for n, what in found if n]


def check_images(truth: GroundTruth, found: Detections) -> None:
    """Raise ValueError on a detection of an image that the ground truth does not have."""
    index = positions(truth.image_ids, found.image_id)
    if not (index < 0).any():
        return
    row = int(np.argmax(index < 0))
    low, high = truth.image_ids.min(), truth.image_ids.max()
    message = (
        f"{found.source}[{row}]: image_id is {found.image_id[row]}, which is not in {truth.name} "
        f"({len(truth)} images, ids {low} to {high}); {int((index < 0).sum()) - 1} more rows are of unknown images"
    )
    if (index < 0).all():
        message += ". No image id is known: are these the results of another split?"
        if 0 <= found.image_id.min() and found.image_id.max() < len(truth):
            message += f" Or are they positions 0..{len(truth) - 1} in the list of images, instead of the images' ids?"
    raise ValueError(message)


def _remarks(truth: GroundTruth, found: Detections, max_dets: tuple[int, ...]) -> tuple[list[str], list[str]]:
    """Notes and warnings of the ground truth, and those that need both sides."""
    notes, warnings = list(truth.notes), list(truth.warnings)
    counts = truth.class_counts()
    detected = np.bincount(found.label, minlength=truth.num_classes)
    if not len(truth.label):
        warnings.append(f"{truth.name} holds no object at all: every metric is -1 (not defined)")
    elif not len(found):
        warnings.append("there is no detection at all: AP and AR are 0")
    absent = np.array([k for k in np.flatnonzero(counts == 0) if k not in truth.left_out], dtype=int)
    if len(absent) and len(truth.label):
        names = ", ".join(truth.class_names[k] for k in absent[:8]) + (" ..." if len(absent) > 8 else "")
        notes.append(
            f"{len(absent)} of {truth.num_classes} classes have no object here and are left out of every mean, with "
            "their "
            f"{int(detected[absent].sum())} detections: {names}"
        )
    silent = len(truth) - len(np.unique(found.image_id))
    if silent and len(found):
        notes.append(f"{silent} of {len(truth)} images have no detection; they count")
    keep = ~truth.crowd
    pairs, sizes = np.unique(truth.image[keep] * truth.num_classes + truth.label[keep], return_counts=True)
    crowded = np.flatnonzero(sizes > max_dets[-1])
    if len(crowded):
        worst = crowded[np.argmax(sizes[crowded])]
        image, label = divmod(int(pairs[worst]), truth.num_classes)
        reach = 1 - (sizes[crowded] - max_dets[-1]).sum() / sizes.sum()
        warnings.append(
            f"{len(crowded)} times an image holds more objects of a class than the {max_dets[-1]} detections that "
            "count (most: "
            f"{sizes[worst]} x {truth.class_names[label]} in image id {truth.image_ids[image]}): at most {reach:.1%} "
            "of all "
            f"objects can be found. Raise max_dets, and compare only results of the same max_dets"
        )
    return notes, warnings
