"""The kinds of inputs: each writes one into a folder and returns the steps that are run on it."""

from .data_inputs import coco, pictures, results, voc, yolo
from .run_inputs import checkpoint, config, override, plan, resume, runs

#: {kind: (share of all inputs, whether it is cheap, function(rng, folder) -> steps)}
KINDS = {
    "coco": (24, True, coco),
    "results": (12, True, results),
    "yolo": (16, True, yolo),
    "voc": (12, True, voc),
    "config": (12, True, config),
    "override": (12, True, override),
    "checkpoint": (10, True, checkpoint),
    "resume": (4, True, resume),
    "pictures": (8, True, pictures),
    "plan": (4, True, plan),
    "runs": (2, False, runs),
}
