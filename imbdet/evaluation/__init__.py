"""From a trained detector, or any results file, to numbers that can be compared.

`inference` runs a model over a split, `detections` holds what it found, `coco` turns that into a `Result`; `run` does
all three for a config and a checkpoint. The evaluators themselves (hotcoco, pycocotools) are imported only when they
run, and without a model nothing of `imbdet.modeling` is.
"""

from .coco import evaluate_coco
from .detections import Detections
from .ground_truth import GroundTruth, as_ground_truth
from .result import Result
from .run import evaluate, evaluate_checkpoint

__all__ = [
    "Detections",
    "GroundTruth",
    "Result",
    "as_ground_truth",
    "evaluate",
    "evaluate_checkpoint",
    "evaluate_coco",
]
