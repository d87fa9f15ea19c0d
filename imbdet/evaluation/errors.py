"""What kind of mistakes cost AP: class, place, both, duplicates, background, missed.

The six types are those of Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020, as hotcoco computes them. pycocotools has nothing like it, so hotcoco is needed here.
"""

from typing import Any

from .backends import hotcoco_matched, renumbered
from .coco import check_images
from .detections import as_detections
from .ground_truth import as_ground_truth
from .metrics import BY_NAME, TIDE_ERRORS

TYPES = {name.removeprefix("d"): BY_NAME[name].title for name in TIDE_ERRORS}


def error_types(records_or_gt: Any, detections: Any, iou: float = 0.5, background: float = 0.1) -> dict[str, Any]:
    """Return how much AP at `iou` would rise if all mistakes of one type were mended, and how many there are.

    Args:
        records_or_gt, detections: as in `evaluate_coco`.
        iou: from which a box is in the right place. background: below which a detection touches nothing.

    Returns:
        {"AP": at `iou`, "delta": {type: rise of AP}, "counts": {type: number}} with the types of `TYPES`.

    Raises:
        ValueError: not 0 <= background < iou <= 1, or input that `evaluate_coco` refuses. ImportError: no hotcoco.
    """
    if not 0 <= background < iou <= 1:
        raise ValueError(f"iou is {iou} and background {background}; it must be 0 <= background < iou <= 1")
    truth = as_ground_truth(records_or_gt)
    found = as_detections(detections, truth.category_ids, truth.class_names, truth.keys)
    check_images(truth, found)
    tide = hotcoco_matched(*renumbered(truth, found), [1, 10, 100]).tide_errors(iou, background)
    return {
        "AP": float(tide["ap_base"]),
        "delta": {name: float(tide["delta_ap"][name]) for name in TYPES},
        "counts": {name: int(tide["counts"][name]) for name in TYPES},
    }
