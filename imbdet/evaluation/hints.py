"""Why is AP this low? Guesses at the usual slips of a results file, each tested on the boxes before it is said.

Letters: D detections and M objects of one image.
"""

import numpy as np

from .detections import Detections
from .ground_truth import GroundTruth, positions

LOW_AP50 = 0.1  #: above it, nothing systematic is wrong with the file
MAX_IMAGES, MAX_PER_IMAGE = 300, 20  # enough to see a slip that concerns every row
OVERLAP = 0.5


def why_so_low(truth: GroundTruth, found: Detections, ap50: float) -> list[str]:
    """Return warnings for an evaluation whose AP50 is below `LOW_AP50` although there are detections; else none."""
    if ap50 >= LOW_AP50 or not len(found) or not len(truth.label):
        return []
    pairs = _sample(truth, found)
    if not pairs:
        return ["no detection is in an image that holds an object"]
    checked = sum(len(pair["boxes"]) for pair in pairs)
    matched = _match(pairs, lambda box, _: box)
    message = f"{len(matched) / checked:.1%} of the best detections overlap an object by {OVERLAP} or more"
    for meaning, reading in _READINGS.items():
        hits = len(_match(pairs, reading))
        if hits >= max(0.25 * checked, 3 * len(matched), 1):
            return [
                f"{message}; read as {meaning}, {hits / checked:.0%} would. "
                "COCO's boxes are [x, y, width, height] in pixels"
            ]
    if len(matched) < 0.05 * checked:
        return [f"{message}: are the boxes in pixels of the original picture, and the image ids of this ground truth?"]
    return _class_hint(truth, matched)


def _sample(truth: GroundTruth, found: Detections) -> list[dict]:
    """The best detections and the objects of some images that have both."""
    image = positions(truth.image_ids, found.image_id)
    order = np.lexsort((-found.score, image))
    detection_starts = np.searchsorted(image[order], np.arange(len(truth) + 1))
    objects = np.argsort(truth.image, kind="stable")
    object_starts = np.searchsorted(truth.image[objects], np.arange(len(truth) + 1))
    both = np.flatnonzero((np.diff(detection_starts) > 0) & (np.diff(object_starts) > 0))
    pairs = []
    for i in both[:: max(1, len(both) // MAX_IMAGES)]:
        d = order[detection_starts[i] : detection_starts[i + 1]][:MAX_PER_IMAGE]
        m = objects[object_starts[i] : object_starts[i + 1]]
        size = np.array([truth.widths[i], truth.heights[i]])
        pairs.append(
            {
                "boxes": found.xywh[d],
                "labels": found.label[d],
                "objects": truth.xywh[m],
                "object_labels": truth.label[m],
                "size": size,
            }
        )
    return pairs


def _match(pairs: list[dict], reading) -> list[tuple[int, int]]:
    """(label, label of the object it overlaps most) of every detection that overlaps one, if boxes are read so."""
    matched = []
    for pair in pairs:
        iou = _iou(reading(pair["boxes"], pair["size"]), pair["objects"])
        best = iou.argmax(axis=1)
        hit = iou[np.arange(len(iou)), best] >= OVERLAP
        matched += zip(pair["labels"][hit].tolist(), pair["object_labels"][best[hit]].tolist(), strict=True)
    return matched


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(D, M) IoU of XYWH boxes, 0 where a box is empty."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    shared = (high - low).clip(min=0).prod(axis=2)
    union = a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0)


_READINGS = {
    "two corners [x1, y1, x2, y2]": lambda box, _: np.hstack([box[:, :2], (box[:, 2:] - box[:, :2]).clip(min=0)]),
    "[center x, center y, width, height]": lambda box, _: np.hstack([box[:, :2] - box[:, 2:] / 2, box[:, 2:]]),
    "shares of the picture's width and height": lambda box, size: box * np.hstack([size, size]),
}


def _class_hint(truth: GroundTruth, matched: list[tuple[int, int]]) -> list[str]:
    """Whether boxes are right but the classes are shifted, by category id or by label."""
    labels = np.array(matched)
    if len(np.unique(labels[:, 0])) < 2:  # a model that always says one class is not a shift
        return []
    ids = truth.category_ids[labels]
    for what, shift in (("category ids", ids[:, 1] - ids[:, 0]), ("labels", labels[:, 1] - labels[:, 0])):
        values, counts = np.unique(shift, return_counts=True)
        top = int(np.argmax(counts))
        if values[top] != 0 and counts[top] >= 0.5 * len(shift) and (shift == 0).mean() < 0.1:
            return [
                f"boxes match, but classes look shifted: for {counts[top] / len(shift):.0%} of the detections that "
                f"overlap an object, the true class is the predicted one {values[top]:+d} (by {what}). {what} seem to "
                f"be off by {abs(values[top])}"
            ]
    return []
