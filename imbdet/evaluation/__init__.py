"""From a trained detector, or any results file, to numbers that can be compared.

`inference` runs a model over a split, `detections` holds what it found, `coco` turns that into a `Result`. The
evaluators themselves (hotcoco, pycocotools) are imported only when they run.
"""

from .coco import evaluate_coco
from .detections import Detections
from .ground_truth import GroundTruth, as_ground_truth
from .result import Result

__all__ = ["Detections", "GroundTruth", "Result", "as_ground_truth", "evaluate_coco"]
