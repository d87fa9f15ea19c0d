"""Validation images with true and predicted boxes, for the page.

Notable: the picture is a JPEG inside the page and the boxes are vectors over it, so that a box one pixel off can be
seen at any zoom and each box says its class and score when it is pointed at. How many predictions are drawn follows
from the data, not from a fixed score: as many as there are true objects in the split, because scores of two detectors
mean different things and a fixed 0.5 would leave some pages empty and others black.

Letters: D detections, M objects, K classes.
"""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..evaluation.detections import score_threshold

MAX_SIDE = 480  #: pixels; larger pictures are stored at this size, their boxes stay exact
MAX_NAMED = 8  #: boxes
MATCH_IOU = 0.5


@dataclass(frozen=True)
class Box:
    """One rectangle on a picture, in pixels of the original.

    kind: "found" or "false" for a prediction, "true" (of a found object) or "missed" for an object.
    """

    kind: str
    x: float
    y: float
    width: float
    height: float
    label: str
    score: float | None = None

    @property
    def title(self) -> str:
        words = "true box of a found object" if self.kind == "true" else self.kind
        return f"{words}: {self.label}" + (f", score {self.score:.2f}" if self.score is not None else "")


@dataclass(frozen=True)
class Picture:
    """One picture: a data URI and its boxes, in pixels of the original (width, height)."""

    name: str
    uri: str
    width: int
    height: int
    boxes: tuple[Box, ...]

    @property
    def named_boxes(self) -> tuple[Box, ...]:
        """The boxes that carry their class as text: none where it would hide the picture."""
        named = tuple(box for box in self.boxes if box.kind != "true")
        return named if len(named) <= MAX_NAMED else ()

    def count(self, kind: str) -> int:
        return sum(box.kind == kind for box in self.boxes)


def make_pictures(records: Any, detections: Any, limit: int = 12) -> tuple[list[Picture], float]:
    """Pictures of `records` (Records) with its `detections` (Detections, labels in the order of the records' classes).

    Returns:
        at most `limit` pictures, and the lowest score that is drawn.
    """
    threshold = score_threshold(detections.score, int((~records.crowd).sum()))
    chosen = choose_images(records, limit)
    return [make_picture(records, index, detections, threshold) for index in chosen], threshold


def make_picture(records: Any, index: int, detections: Any, threshold: float) -> Picture:
    """The image of this index with its objects and its detections of at least that score, best first."""
    mine = np.flatnonzero((detections.image_id == records.image_ids[index]) & (detections.score >= threshold))
    mine = mine[np.argsort(-detections.score[mine], kind="stable")]
    target = records.target(index)
    truth = target["boxes"].numpy().astype(np.float64), target["labels"].numpy()
    found = detections.take(mine)
    return Picture(
        name=records.images.name(index),
        uri=jpeg_uri(records.images[index]),
        width=int(records.widths[index]),
        height=int(records.heights[index]),
        boxes=tuple(judge(found.xywh, found.label, found.score, *truth, records.class_names)),
    )


def choose_images(records: Any, limit: int) -> list[int]:
    """Indices of at most `limit` images: one for every class, the rarest class first, then evenly through the split."""
    counts, chosen = records.class_counts(), dict[int, None]()
    for label in np.argsort(counts, kind="stable"):
        holders = np.unique(records.object_image[(records.labels == label) & ~records.crowd])
        fresh = [int(i) for i in holders if int(i) not in chosen]
        if fresh and len(chosen) < limit:
            chosen[fresh[len(fresh) // 2]] = None
    for i in np.linspace(0, len(records) - 1, 2 * limit).round().astype(int) if len(records) else ():
        if len(chosen) < limit:
            chosen[int(i)] = None
    return sorted(chosen)


def judge(
    xywh: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    truth: np.ndarray,
    truth_labels: np.ndarray,
    class_names: tuple[str, ...],
) -> list[Box]:
    """Which detections found an object, which did not, and which objects are missed. Objects come before detections.

    Args:
        xywh: (D, 4), labels, scores: (D,), best first. truth: (M, 4) XYXY, truth_labels: (M,).

    A detection finds the free object of its class with the largest IoU, if that is at least 0.5: COCO's rule at AP50.
    """
    free = np.ones(len(truth), dtype=bool)
    boxes = []
    for (x, y, w, h), label, score in zip(xywh.tolist(), labels.tolist(), scores.tolist(), strict=True):
        iou = np.where(free & (truth_labels == label), _iou((x, y, x + w, y + h), truth), 0.0)
        found = len(iou) > 0 and iou.max() >= MATCH_IOU
        if found:
            free[int(iou.argmax())] = False
        boxes.append(Box("found" if found else "false", x, y, w, h, class_names[label], score))
    objects = zip(truth.tolist(), truth_labels.tolist(), free.tolist(), strict=True)
    below = [
        Box("missed" if missed else "true", x1, y1, x2 - x1, y2 - y1, class_names[label])
        for (x1, y1, x2, y2), label, missed in objects
    ]
    return [*below, *boxes]


def _iou(box: tuple[float, float, float, float], others: np.ndarray) -> np.ndarray:
    """IoU of one XYXY box with (M, 4) others."""
    low, high = np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])
    inter = np.clip(high - low, 0, None).prod(axis=1)
    area = (box[2] - box[0]) * (box[3] - box[1]) + (others[:, 2:] - others[:, :2]).prod(axis=1)
    return inter / np.maximum(area - inter, 1e-9)


def jpeg_uri(image: Any) -> str:
    """A uint8 RGB tensor (3, H, W) as a data URI, its longer side at most MAX_SIDE pixels."""
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy()))
    picture.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
