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

from imbdet.evaluation.bootstrap import image_weights, over_classes, rank_detections
from imbdet.evaluation.coco import evaluate_coco
from imbdet.evaluation.detections import Detections
from imbdet.evaluation.errors import error_types
from imbdet.evaluation.result import EvaluationWarning
from imbdet.evaluation.significance import Sample, judge_samples

from .synthetic import generate_evaluation_set

SMALL = {"images": 500, "detections": 20_000}  #: seconds instead of minutes
SMALL_COMPARISON = {"images": 500, "detections": 10_000}

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


def benchmark_comparison(
    images: int = 5000,
    detections: int = 100_000,
    classes: int = 80,
    arms: int = 4,
    seeds: int = 1,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Time all that a comparison computes from the results files of arms x seeds runs on one split, in one thread.

    Returns:
        seconds of "read", "match", "tide", "weights" (the draws), "bootstrap" (all metrics on all draws), "judge", and
        "total", their sum; "exact": whether AP with all weights at one is the evaluator's in every run; "sd": deviation
        of AP over the draws of the first run.
    """
    truth, first = generate_evaluation_set(images, detections, classes, seed)
    seconds = dict.fromkeys(("read", "match", "tide", "weights", "bootstrap", "judge"), 0.0)

    def timed(name: str, function, *args) -> Any:
        spent, value = _timed(lambda: function(*args))
        seconds[name] += spent
        return value

    weights = timed("weights", image_weights, images, draws, seed)
    whole, drawn, exact = [], [], True
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "detections.json")
        for run in range(arms * seeds):  # the same boxes with other scores
            noise = np.random.default_rng([seed, run]).normal(0, 0.05, len(first))
            score = np.round((first.score + noise).clip(0, 1), 3)
            Detections(first.image_id, first.label, score, first.xywh).save(path, truth.category_ids)
            found = timed("read", Detections.from_coco, path, truth.category_ids, truth.class_names)
            ranked = timed("match", rank_detections, truth, found)
            timed("tide", error_types, truth, found)
            drawn.append(over_classes(timed("bootstrap", ranked.metrics, weights)))
            whole.append(over_classes(ranked.metrics()))
            exact &= bool(abs(whole[-1]["AP"][0] - _ours(truth, found)["AP"]) < 1e-12)
    timed("judge", _judge_arms, whole, drawn, arms, images)
    return {**seconds, "total": sum(seconds.values()), "exact": exact, "sd": float(drawn[0]["AP"].std())}


def _judge_arms(whole: list[dict], drawn: list[dict], arms: int, images: int) -> dict:
    """The first run is the baseline's first seed, the next the first arm's, and so on."""

    def of(runs: list[dict], metric: str, read: Any) -> dict[str, dict[int, Any]]:
        return {f"arm {arm}": {s: read(one[metric]) for s, one in enumerate(runs[arm::arms])} for arm in range(arms)}

    against = {f"arm {arm}": "arm 0" for arm in range(1, arms)}
    return judge_samples(
        {
            metric: Sample(of(whole, metric, lambda one: one[0]), against, of(drawn, metric, lambda one: one), images)
            for metric in whole[0]
        }
    )


def reference_evaluation(truth: dict, found: list) -> Any:
    """pycocotools's COCOeval of a ground truth and results as `json.load` gives them, summarized, prints kept quiet."""
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
