"""The evaluators behind `evaluate_coco`: hotcoco, and pycocotools as reference and fallback.

Notable: both get ids 1, 2, 3 ... for images, categories and annotations, in the order of the ids of the file, since
that order decides which of two equal scores comes first. Both give arrays equal bit for bit (asserted in the tests);
only the time differs.

Letters: T IoU thresholds, R recall points, K classes, A area ranges, L limits of detections per image and class, M
objects.
"""

import contextlib
import io
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from .detections import Detections
from .ground_truth import GroundTruth, positions

BACKENDS = ("auto", "hotcoco", "pycocotools")


@dataclass
class Curves:
    """What an evaluator accumulates; -1 where a class has no object (in the area range).

    precision, scores: float64 (T, R, K, A, L), precision and score at each recall point; recall: float64 (T, K, A, L).
    K is in the order of the category ids, as pycocotools has it: `classes` (K,) is the label of each place.
    evaluator: name and version. iou_thresholds: T values. max_dets: L values, ascending.
    """

    precision: np.ndarray
    recall: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    evaluator: dict
    iou_thresholds: np.ndarray
    max_dets: tuple[int, ...]


def accumulate(truth: GroundTruth, detections: Detections, max_dets: tuple[int, ...], backend: str = "auto") -> Curves:
    """Match and accumulate with one of `BACKENDS`; "auto" is hotcoco if it is installed, else pycocotools.

    Detections must be of known images and labels. max_dets: detections of the best score that count, per image and
    class.

    Raises:
        ValueError: unknown backend. ImportError: the backend is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; it must be one of {', '.join(BACKENDS)}")
    run = {"hotcoco": _hotcoco, "pycocotools": _pycocotools, "auto": _first_installed}[backend]
    arrays, evaluator, thresholds = run(*renumbered(truth, detections), sorted(max_dets))
    return Curves(
        precision=np.ascontiguousarray(arrays["precision"]),
        recall=np.ascontiguousarray(arrays["recall"]),
        scores=np.ascontiguousarray(arrays["scores"]),
        classes=np.argsort(truth.category_ids),
        evaluator=evaluator,
        iou_thresholds=np.asarray(thresholds, dtype=np.float64),
        max_dets=tuple(sorted(max_dets)),
    )


def renumbered(truth: GroundTruth, detections: Detections) -> tuple[int, int, dict, np.ndarray]:
    """Return both sides with the ids 1..N and 1..K: N, K, the objects by column, and (D, 7) rows as COCO's loadRes
    takes them.
    """
    image_place = np.argsort(np.argsort(truth.image_ids)) + 1
    class_place = np.argsort(np.argsort(truth.category_ids)) + 1
    image_of_detection = image_place[positions(truth.image_ids, detections.image_id)]
    rows = np.column_stack([image_of_detection, detections.xywh, detections.score, class_place[detections.label]])
    objects = {"image": image_place[truth.image], "category": class_place[truth.label]}
    objects.update(xywh=truth.xywh, area=truth.area, crowd=truth.crowd.astype(np.int64))
    return len(truth), truth.num_classes, objects, rows


def _first_installed(*args) -> tuple:
    try:
        return _hotcoco(*args)
    except ImportError:
        return _pycocotools(*args)


def hotcoco_matched(num_images: int, num_classes: int, objects: dict, rows: np.ndarray, max_dets: list[int]):
    """Return hotcoco's COCOeval after `evaluate()`. Raises ImportError if it is not installed."""
    import hotcoco

    truth = hotcoco.COCO.from_arrays(
        [{"id": i, "width": 0, "height": 0, "file_name": ""} for i in range(1, num_images + 1)],
        [{"id": k, "name": str(k)} for k in range(1, num_classes + 1)],
        objects["image"],
        objects["category"],
        objects["xywh"],
        area=objects["area"],
        iscrowd=objects["crowd"],
    )
    evaluation = hotcoco.COCOeval(truth, truth.load_res(rows), "bbox")
    if max_dets != list(evaluation.params.max_dets):
        evaluation.params.max_dets = max_dets
    evaluation.evaluate()
    return evaluation


def _hotcoco(*args) -> tuple:
    import hotcoco

    evaluation = hotcoco_matched(*args)
    evaluation.accumulate()
    return evaluation.eval, {"name": "hotcoco", "version": hotcoco.__version__}, evaluation.params.iou_thrs


def _pycocotools(num_images: int, num_classes: int, objects: dict, rows: np.ndarray, max_dets: list[int]) -> tuple:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = ("image_id", "category_id", "bbox", "area", "iscrowd")
    columns = [objects[key].tolist() for key in ("image", "category", "xywh", "area", "crowd")]
    images, categories = [{"id": i} for i in range(1, num_images + 1)], [{"id": k} for k in range(1, num_classes + 1)]
    annotations = [
        dict(zip(names, values, strict=True), id=i) for i, values in enumerate(zip(*columns, strict=True), start=1)
    ]
    found = [  # what COCO.loadRes would make of them; it cannot take an empty list
        {
            "id": i,
            "image_id": int(image),
            "category_id": int(category),
            "bbox": [x, y, w, h],
            "score": score,
            "area": w * h,
            "iscrowd": 0,
        }
        for i, (image, x, y, w, h, score, category) in enumerate(rows.tolist(), start=1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_indexed(COCO(), images, categories, annotations), iouType="bbox")
        evaluation.cocoDt = _indexed(COCO(), images, categories, found)
        evaluation.params.maxDets = max_dets
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval, {"name": "pycocotools", "version": version("pycocotools")}, evaluation.params.iouThrs


def _indexed(coco, images: list[dict], categories: list[dict], annotations: list[dict]):
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco
