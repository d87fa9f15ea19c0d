"""Section 8: per-class errors against hotcoco and tidecv, calibration against scikit-learn, the rest by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.synthetic import generate_evaluation_set
from imbdet.diagnose.labels import suspicious_labels
from imbdet.diagnose.run import (
    Trained,
    above_thresholds,
    calibration,
    confusion,
    diagnose_run,
    open_run,
    paradox,
    subsets,
)
from imbdet.diagnose.structures import Missing
from imbdet.diagnose.tide import TYPES, average_precision, errors_per_class
from imbdet.evaluation.coco import evaluate_coco
from imbdet.evaluation.detections import Detections
from imbdet.evaluation.errors import error_types
from imbdet.evaluation.ground_truth import as_ground_truth

from .helpers import box, make_records

pytest.importorskip("hotcoco")


def detections(rows, records):
    """rows of (image, label, score, x, y, w, h)."""
    rows = np.array(rows, dtype=float).reshape(-1, 7)
    return Detections(
        records.image_ids[rows[:, 0].astype(int)], rows[:, 1], rows[:, 2], rows[:, 3:], records.class_names
    )


@pytest.fixture(scope="module")
def generated():
    truth, found = generate_evaluation_set(images=60, detections=4000, classes=6, seed=1)
    keep = ~truth.crowd  # tidecv has no crowd regions
    truth = replace(
        truth, image=truth.image[keep], label=truth.label[keep], xywh=truth.xywh[keep], area=truth.area[keep],
        crowd=truth.crowd[keep], notes=[], warnings=[],
    )  # fmt: skip
    rng = np.random.default_rng(0)
    found.score = found.score + rng.random(len(found)) * 1e-6  # no equal scores: evaluators order them differently
    return truth, found


def test_errors_of_classes_have_hotcocos_means(generated):
    """The mean of the deltas over the classes, and the sum of the counts, are TIDE's own; APs are AP50."""
    truth, found = generated
    rows, whole = errors_per_class(truth, found), error_types(truth, found)
    assert np.mean([row["AP"] for row in rows]) == pytest.approx(whole["AP"])
    for what in TYPES:
        assert np.mean([row["delta"][what] for row in rows]) == pytest.approx(whole["delta"][what], abs=1e-12), what
        assert sum(row["counts"][what] for row in rows) == whole["counts"][what] > 0, what
    per_class = {row["name"]: row["AP50"] for row in evaluate_coco(truth, found).per_class}
    for row in rows:
        assert row["AP"] == pytest.approx(per_class[row["name"]])


@pytest.mark.slow  # its import alone takes seconds
def test_errors_against_tidecv(generated):
    """tidecv's own run on the same boxes: main errors in points of AP50, to the precision of its interpolation."""
    tidecv = pytest.importorskip("tidecv")
    truth, found = generated
    data, result = tidecv.Data("truth"), tidecv.Data("found")
    for k, name in enumerate(truth.class_names):
        data.add_class(k, name)
    for i, k, xywh in zip(truth.image, truth.label, truth.xywh, strict=True):
        data.add_ground_truth(int(i), int(k), xywh.tolist())
    place = {image_id: i for i, image_id in enumerate(truth.image_ids.tolist())}
    for i, k, score, xywh in zip(found.image_id.tolist(), found.label, found.score, found.xywh, strict=True):
        result.add_detection(place[i], int(k), float(score), xywh.tolist())
    tide = tidecv.TIDE()
    tide.evaluate(data, result, mode=tidecv.TIDE.BOX)
    main = tide.get_main_errors()["found"]
    rows = errors_per_class(truth, found)
    for what in TYPES:
        assert 100 * np.mean([row["delta"][what] for row in rows]) == pytest.approx(main[what], abs=1.0), what


def test_average_precision_by_hand():
    """Right, wrong, right of 2 objects: precision 1 up to recall 0.5 (51 points), then 2/3 (50 points)."""
    ap = average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2)
    assert ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0


def test_confusion_by_hand():
    """a found as a, b found as a, one a missed, and a detection of c where nothing is; category ids out of order."""
    records = make_records([[box(0, 0, 0), box(1, 50, 50), box(0, 0, 70)]])
    records = replace(records, category_ids=np.array([7, 3, 5]))
    rows = [(0, 0, 0.9, 0, 0, 20, 20), (0, 0, 0.8, 50, 50, 20, 20), (0, 2, 0.7, 70, 0, 20, 20)]
    found = confusion(as_ground_truth(records), detections(rows, records))
    assert found["names"] == ["a", "b", "c", "background"]
    assert found["matrix"] == [[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_calibration_against_scikit_learn(generated):
    curves = pytest.importorskip("sklearn.calibration")
    from imbdet.evaluation.matching import match_detections

    truth, found = generated
    found = replace(found, score=found.score.clip(0, 1))
    numbers = calibration(truth, found)
    matches = match_detections(truth, found)
    right, score = matches.object >= 0, matches.score
    share, mean = curves.calibration_curve(right, score, n_bins=10)
    assert [v for v in numbers["precision"] if v is not None] == pytest.approx(share)
    assert [v for v in numbers["score"] if v is not None] == pytest.approx(mean)
    counts = np.array([c for c in numbers["count"] if c])
    assert numbers["error"] == pytest.approx((np.abs(share - mean) * counts).sum() / counts.sum())


def test_the_paradox_by_hand():
    """9 of 9 a are found, 0 of 1 b: pooled 90 %, mean of classes 50 %, always "a" is right for 90 %."""
    records = make_records([[box(0, 10 * i, 0, 8, 8) for i in range(9)] + [box(1, 0, 50)]], classes=("a", "b"))
    rows = [(0, 0, 0.9, 10 * i, 0, 8, 8) for i in range(9)]
    values = paradox(as_ground_truth(records), detections(rows, records), [{"AP": 1.0}, {"AP": 0.0}])
    assert values == {"pooled": 0.9, "mean_of_classes": 0.5, "always_most_frequent": 0.9, "AP": 0.5}


def test_thresholds_of_each_class():
    records = make_records([[box(0)]])
    found = detections([(0, 0, 0.9, 0, 0, 5, 5), (0, 0, 0.3, 0, 0, 5, 5), (0, 1, 0.9, 0, 0, 5, 5)], records)
    kept = above_thresholds(as_ground_truth(records), found, {"a": 0.5, "b": None})
    assert kept.score.tolist() == [0.9] and kept.label.tolist() == [0]


def test_subsets_are_the_evaluator_with_the_others_ignored():
    """The middle one is found, the one at the border is not: AP 1 and 0; detections on ignored objects do not count."""
    records = make_records([[box(0, 40, 40), box(0, 0, 0)]], classes=("a",))
    found = detections([(0, 0, 0.9, 40, 40, 20, 20)], records)
    rows = {row["name"]: row for row in subsets(records, as_ground_truth(records), found)}
    assert rows["center in the middle ninth"]["AP"] == pytest.approx(1)
    assert rows["center outside of it"]["AP"] == pytest.approx(0)
    assert rows["box at the border"]["AP"] == pytest.approx(0) and rows["box away from the border"]["objects"] == 1
    assert rows["overlaps none so much"]["objects"] == 2
    crowded = next(row for name, row in rows.items() if "or more" in name)
    assert crowded["objects"] == 0 and crowded["AP"] is None


def test_a_whole_section(generated):
    """Perfect detections of one class, none of the others; rank correlation equals scipy's."""
    records = make_records([[box(0, 10 * i, 0, 8, 8) for i in range(6)] + [box(1, 0, 50), box(2, 50, 50)]])
    train = make_records([[box(0)] * 9 + [box(1)] * 3 + [box(2)]])
    found = detections([(0, 0, 0.9, 10 * i, 0, 8, 8) for i in range(6)], records)
    numbers = diagnose_run(Trained(found, records, "val"), train)
    rows = {row["name"]: row for row in numbers["rows"]}
    assert rows["a"]["AP"] == pytest.approx(1) and rows["a"]["precision"] == 1 and rows["a"]["recall"] == 1
    assert rows["b"]["AP"] == 0 and rows["b"]["recall"] == 0 and rows["b"]["precision"] is None
    assert rows["b"]["tide_counts"]["Miss"] == 1 and rows["b"]["tide"]["Miss"] == 0 and rows["a"]["train_boxes"] == 9
    assert numbers["tide"]["delta"]["Miss"] == 0  # TIDE's own number: no object is left of classes wholly missed
    stats = pytest.importorskip("scipy.stats")
    assert numbers["frequency_correlation"] == pytest.approx(stats.spearmanr([9, 3, 1], [1, 0, 0]).statistic)
    with pytest.raises(Missing, match="no object"):
        diagnose_run(Trained(detections([], records), make_records([[]]), "val"), train)


def test_suspicious_labels_of_three_kinds():
    """Ten right a; then a sure a on a b, a sure a on nothing, and an a that nothing touches."""
    images = [[box(0, 10, 10)] for _ in range(10)] + [[box(1, 10, 10)], [], [box(0, 60, 60)]]
    records = make_records(images)
    rows = [(i, 0, 0.9, 10, 10, 20, 20) for i in range(12)] + [(0, 1, 0.9, 60, 60, 9, 9)]
    found = suspicious_labels(records, as_ground_truth(records), detections(rows, records))
    assert found["counts"] == {"missing": 1, "class": 1, "unseen": 1}
    kinds = {row["kind"]: row for row in found["rows"]}
    assert kinds["class"]["image"] == 10 and kinds["class"]["label"] == "b" and kinds["class"]["found"] == "a"
    assert kinds["missing"]["image"] == 11 and kinds["unseen"]["image"] == 12
    assert all(row["found"] != "b" for row in found["rows"])  # the run knows no b, so it accuses nobody by it


def test_a_class_that_the_run_knows_badly_accuses_nobody():
    """Six right a and six wrong ones of higher scores: at no score are 80 % right."""
    records = make_records([[box(0, 10, 10)] for _ in range(6)] + [[] for _ in range(6)])
    rows = [(i, 0, 0.5, 10, 10, 20, 20) for i in range(6)] + [(i, 0, 0.9, 10, 10, 20, 20) for i in range(6, 12)]
    assert suspicious_labels(records, as_ground_truth(records), detections(rows, records))["rows"] == []


def test_a_run_that_is_none_or_of_other_images(tmp_path):
    records = make_records([[box(0)]], name="val")
    with pytest.raises(FileNotFoundError, match="no run at"):
        open_run(tmp_path / "none", {"val": records}, "val")
    (tmp_path / "config.yaml").write_text("a: 1\n")
    with pytest.raises(Missing, match="--split"):
        open_run(tmp_path, {"val": records}, "test")
    with pytest.raises(Missing, match="neither weights nor detections"):
        open_run(tmp_path, {"val": records}, "val")
    saved = detections([(0, 0, 0.5, 1, 1, 5, 5)], records)
    saved.save(tmp_path / "detections.json", records.category_ids)
    assert open_run(tmp_path, {"val": records}, "val").found.score.tolist() == [0.5]
    other = replace(records, image_ids=records.image_ids + 5)
    with pytest.raises(Missing, match="of this data"):
        open_run(tmp_path, {"val": other}, "val")


@pytest.mark.parametrize("name", ["baselines/retinanet_shapes", "baselines/faster_rcnn_shapes"])
def test_what_a_detector_is_measured_by(name):
    """Shares add up over groups and tasks; weights, buffers and modes stay as they were."""
    from imbdet.config import instantiate, load_config
    from imbdet.data.datasets.shapes import shapes
    from imbdet.diagnose.measured import measure

    cfg = load_config(name, overrides=["data.train.num_images=4", "data.val.num_images=2", "data.test.num_images=2"])
    torch.manual_seed(0)
    model = instantiate(cfg.model).eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    records = shapes(split="train", seed=0, num_images=4, class_ratio=5.0)
    stages = measure(model, records, None, images=4)
    assert [stage["name"] for stage in stages] == (["detector"] if "retinanet" in name else ["rpn", "roi_heads"])
    for stage in stages:
        assert stage["images"] == 4 and stage["positives"] > 0
        for what in ("loss", "gradient"):
            shares = stage[what]["classification"]
            assert shares["background"] + shares["foreground"] == pytest.approx(1)
            assert stage[what]["regression"]["foreground"] == pytest.approx(1)
            if "rare" in shares:
                groups = shares["rare"] + shares["common"] + shares["frequent"]
                assert groups == pytest.approx(shares["foreground"])
        assert sum(task["loss"] for task in stage["tasks"].values()) == pytest.approx(1)
        assert sum(task["gradient"] for task in stage["tasks"].values()) == pytest.approx(1)
        assert sum(stage["iou"]["before"]) == sum(stage["iou"]["after"]) == round(4 * stage["positives"])
    assert not model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
