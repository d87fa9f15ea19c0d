"""How long an evaluation takes beside pycocotools, on the same made-up set, in turns, in one process.

Notable: both sides start from what they take in normal use. pycocotools gets the dict and the list that `json.load`
gives (reading the files is timed apart, with json for it, with msgspec for ours); ours starts from flat arrays and
includes every check of its input. The comparison is void unless all numbers are equal, so that is returned, too.
"""

import contextlib
import copy
import io
import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .coco import evaluate_coco
from .result import EvaluationWarning
from .synthetic import generate_evaluation_set

SMALL = {"images": 500, "detections": 20_000}  #: seconds instead of minutes

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def benchmark_evaluation(
    images: int = 5000,
    detections: int = 500_000,
    classes: int = 80,
    seed: int = 0,
    repetitions: int = 1,
    ours_per_repetition: int = 3,
) -> dict[str, Any]:
    """Time `evaluate_coco` and pycocotools in turns; pycocotools needs over a minute a turn at the default size.

    Returns:
        seconds (median) of "pycocotools" and "imbdet", their "read" times from JSON files, "speedup" (the median over
        the turns of pycocotools's time / the median of ours around it), "identical": whether the twelve numbers and the
        precision, recall and score arrays are equal bit for bit, "metrics", "set".
    """
    truth, found = generate_evaluation_set(images, detections, classes, seed)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "annotations.json"), Path(folder, "results.json")
        files[0].write_text(json.dumps(truth.to_coco()))
        found.save(files[1], truth.category_ids)
        read_theirs, (coco_truth, coco_found) = _timed(lambda: [json.loads(f.read_text()) for f in files])
        read_and_evaluate, _ = _timed(lambda: _ours(*files))
    turns = []
    for _ in range(repetitions):
        ours = [_timed(lambda: _ours(truth, found)) for _ in range(ours_per_repetition)]
        theirs, reference = _timed(lambda: reference_evaluation(coco_truth, copy.copy(coco_found)))
        ours.append(_timed(lambda: _ours(truth, found)))
        turns.append((theirs, statistics.median(seconds for seconds, _ in ours)))
    result = ours[-1][1]
    return {
        "pycocotools": statistics.median(t for t, _ in turns),
        "imbdet": statistics.median(o for _, o in turns),
        "speedup": statistics.median(t / o for t, o in turns),
        "pycocotools_read_json": read_theirs,
        "imbdet_with_read_json": read_and_evaluate,
        "identical": same_as_reference(result, reference),
        "evaluator": result.evaluator,
        "metrics": result.metrics,
        "set": truth.name,
    }


def reference_evaluation(truth: dict, found: list) -> Any:
    """pycocotools's COCOeval of a ground truth and results as `json.load` gives them, summarised, prints kept quiet."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def same_as_reference(result: Any, reference: Any) -> bool:
    """Whether the twelve numbers and all three arrays are equal bit for bit."""
    numbers = all(result[key] == value for key, value in zip(METRICS, reference.stats.tolist(), strict=True))
    names = ("precision", "recall", "scores")
    return numbers and all(np.array_equal(getattr(result.curves, name), reference.eval[name]) for name in names)


def _ours(truth: Any, found: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvaluationWarning)
        return evaluate_coco(truth, found)


def _timed(function) -> tuple[float, Any]:
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value
