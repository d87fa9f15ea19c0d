"""From a trained detector, or any results file, to numbers that can be compared.

`inference` runs a model over a split, `detections` holds what it found, `classes` matches its classes with the data's
by name, `coco` turns that into a `Result`; `imbdet.evaluate` does all of it for a config and a checkpoint. The
evaluators themselves (hotcoco, pycocotools) are imported only when they run, and without a model nothing of
`imbdet.modeling` is.
"""

from .coco import evaluate_coco
from .detections import Detections
from .ground_truth import GroundTruth, as_ground_truth
from .result import Result

__all__ = [
    "Detections",
    "GroundTruth",
    "Result",
    "as_ground_truth",
    "evaluate_coco",
]
