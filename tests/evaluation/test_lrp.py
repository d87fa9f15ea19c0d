"""LRP by hand, and the matching under it against pycocotools."""

import numpy as np
import pytest

from benchmarks.evaluation import reference_evaluation
from benchmarks.synthetic import generate_evaluation_set
from imbdet.evaluation.lrp import optimal_lrp
from imbdet.evaluation.matching import match_detections

from .cases import perfect, truth


@pytest.mark.parametrize("threshold", (0.5, 0.75))
@pytest.mark.parametrize("seed", range(3))
def test_matching_is_cocos(seed, threshold):
    """The same detections find an object, and the same are ignored, per image and class, in score order."""
    ground_truth, found = generate_evaluation_set(images=20, detections=1500, classes=4, seed=seed)
    ground_truth.crowd[::5] = True
    matches = match_detections(ground_truth, found, threshold, max_dets=10)
    reference = reference_evaluation(ground_truth.to_coco(), found.to_coco(ground_truth.category_ids))
    place = int(np.argmin(abs(reference.params.iouThrs - threshold)))
    hits = 0
    for entry in reference.evalImgs:
        if entry is None or entry["aRng"] != [0, 1e10]:
            continue
        image = int(np.flatnonzero(ground_truth.image_ids == entry["image_id"])[0])
        label = int(np.flatnonzero(ground_truth.category_ids == entry["category_id"])[0])
        mine = (matches.image == image) & (matches.label == label)
        theirs = entry["dtMatches"][place][:10] - 1  # annotation ids 1..M
        ignored = entry["dtIgnore"][place][:10]
        np.testing.assert_array_equal(matches.score[mine], entry["dtScores"][:10])
        np.testing.assert_array_equal(matches.ignored[mine], ignored)
        np.testing.assert_array_equal(matches.object[mine], np.where(ignored, -1, theirs))
        hits += (matches.object[mine] >= 0).sum()
    assert hits == (matches.object >= 0).sum() > 10
    assert matches.ignored.any()


def test_lrp_by_hand():
    """4 objects. Scores .9: found with IoU .8; .8: wrong; .7: found with IoU 1; .1: wrong twice. tau = .5.

    s=.9: (.4 + 0 + 3) / 4 = .85; s=.8: (.4 + 1 + 3) / 5 = .88; s=.7: (.4 + 1 + 2) / 5 = .68; s=.1: (.4 + 3 + 2) / 7.
    """
    document = truth(boxes=4, classes=1, images=1)
    first, second = perfect(document)[:2]
    wrong = {"image_id": 10, "category_id": 1, "bbox": [900, 5, 40, 50]}
    rows = [
        {**first, "bbox": [0, 5, 40, 40], "score": 0.9},  # 40 of 50 rows: IoU .8
        {**wrong, "score": 0.8},
        {**second, "score": 0.7},
        {**wrong, "score": 0.1},
        {**wrong, "score": 0.1},
    ]
    result = optimal_lrp(document, rows)
    row = result["per_class"][0]
    assert result["oLRP"] == row["oLRP"] == pytest.approx(0.68)
    assert (row["loc"], row["fp"], row["fn"], row["threshold"]) == pytest.approx((0.1, 1 / 3, 0.5, 0.7))


def test_nothing_found_and_all_found():
    document = truth(boxes=4, classes=2)
    document["categories"].append({"id": 9, "name": "without objects"})
    assert optimal_lrp(document, [])["oLRP"] == 1.0
    assert optimal_lrp(document, perfect(document))["oLRP"] == pytest.approx(0, abs=1e-12)
    half = optimal_lrp(document, [row for row in perfect(document) if row["category_id"] == 1])
    assert half["oLRP"] == pytest.approx(0.5) and half["oLRP_loc"] == pytest.approx(0) and len(half["per_class"]) == 2
    assert optimal_lrp(truth(boxes=0), [])["oLRP"] is None


def test_wrong_tau():
    with pytest.raises(ValueError, match="tau is 1"):
        optimal_lrp(truth(), [], tau=1)
