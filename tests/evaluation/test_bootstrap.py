"""The bootstrap's AP is the evaluator's: bit for bit with all weights at one, and on every resampled set."""

import warnings

import numpy as np
import pytest
from scipy import stats

from benchmarks.evaluation import benchmark_comparison
from benchmarks.synthetic import generate_evaluation_set
from imbdet.evaluation import Detections, GroundTruth, evaluate_coco
from imbdet.evaluation.bootstrap import (
    AREA_RANGES,
    AVERAGES,
    COLUMNS,
    RECALLS,
    THRESHOLDS,
    _OneClass,
    image_weights,
    over_classes,
    points_reached,
    rank_detections,
)
from imbdet.evaluation.detections import as_detections
from imbdet.evaluation.ground_truth import as_ground_truth
from imbdet.evaluation.lrp import optimal_lrp
from imbdet.evaluation.matching import match_areas

from .cases import perfect, truth


def crowded(seed, images=25, detections=900, classes=5):
    """A generated set with many crowd regions; scores of three digits, so that many are equal."""
    ground_truth, found = generate_evaluation_set(images, detections, classes, seed)
    ground_truth.crowd[:: 4 + seed] = True
    return ground_truth, found


def full_image():
    """Two images with 150 objects and 400 detections of one class each: more than the 100 that count."""
    rng = np.random.default_rng(0)
    document = truth(boxes=300, classes=1, images=2)
    rows = perfect(document)
    for row in rows:
        row["score"] = float(np.round(rng.random(), 1))
        row["bbox"] = [x + float(rng.normal(0, 4)) for x in row["bbox"][:2]] + row["bbox"][2:]
    return as_ground_truth(document), as_detections(rows + rows[::-1] + rows[:200], [1], ["class 0"])


def equal_overlaps():
    """The best detection overlaps two objects alike; COCO gives it the later, which is all that the second overlaps."""
    document = truth(boxes=2, classes=1, images=1)
    document["annotations"][0]["bbox"], document["annotations"][1]["bbox"] = [0, 5, 40, 50], [10, 5, 40, 50]
    rows = perfect(document)
    rows[0].update(bbox=[5, 5, 40, 50], score=0.9)
    rows[1].update(bbox=[20, 5, 40, 50], score=0.8)
    return as_ground_truth(document), as_detections(rows, [1], ["class 0"])


def precision_array(ranked):
    """The evaluator's (T, R, K, A), rebuilt from the curve of each class, threshold and area range."""
    shape = (len(THRESHOLDS), len(RECALLS), len(ranked.objects), len(AREA_RANGES))
    array = np.full(shape, -1.0)
    for label in range(shape[2]):
        one = _OneClass(ranked, label, np.ones((ranked.num_images, 1)))
        for area in range(shape[3]):
            if not one.objects[area][0]:
                continue
            at = np.flatnonzero(one.true[:, area].any(axis=0))
            before = one._running(one.inside[area], at)
            for threshold in range(shape[0]):
                precision, found = one.curve(threshold, area, at, before)
                points = points_reached(found, one.objects[area])[:, 0].astype(int)
                array[threshold, :, label, area] = 0
                for value, first, last in zip(precision[:, 0], [0, *points], points, strict=False):
                    array[threshold, first:last, label, area] = value
    return array


def evaluated(ground_truth, found, train=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate_coco(ground_truth, found, train)


SETS = {**{f"crowd {seed}": lambda seed=seed: crowded(seed) for seed in range(4)}, "more than 100": full_image}
SETS["equal overlaps"] = equal_overlaps


@pytest.fixture(params=[*SETS, "coco100"])
def case(request):
    if request.param != "coco100":
        return SETS[request.param]()
    folder = request.getfixturevalue("shared_data") / "coco_val2014_100"
    ground_truth = as_ground_truth(folder / "instances_val2014_100.json")
    results = folder / "instances_val2014_fakebbox100_results.json"
    return ground_truth, as_detections(results, ground_truth.category_ids, ground_truth.class_names)


def test_with_weights_of_one_it_is_the_evaluator(case):
    """The precision array bit for bit; means over it to the last digit but one (they are summed in another order)."""
    ranked, result = rank_detections(*case), evaluated(*case, case[0])
    reference = result.curves.precision[..., -1]
    mine = precision_array(ranked)[:, :, result.curves.classes]
    np.testing.assert_array_equal(mine, reference)
    per_class = ranked.metrics()
    labels = {name: [k for k, row in enumerate(result.per_class) if row["group"] == name] for name in result.groups}
    means = over_classes(per_class, labels)
    for name, values in means.items():
        expected = optimal_lrp(*case)["oLRP"] if name == "oLRP" else result[name]
        assert np.isnan(values[0]) if expected == -1 else values[0] == pytest.approx(expected, abs=1e-13), name
    rows = [np.nan if row["AP"] is None else row["AP"] for row in result.per_class]
    np.testing.assert_allclose(per_class[0, :, 0], rows, rtol=0, atol=1e-13)
    lrp = {row["name"]: row["oLRP"] for row in optimal_lrp(*case)["per_class"]}
    mine = {name: value for name, value in zip(case[0].class_names, per_class[0, :, -1], strict=True) if value >= 0}
    assert mine == pytest.approx(lrp, abs=1e-13)


def test_matching_in_blocks_is_matching_at_once(monkeypatch):
    ground_truth, found = crowded(1)
    whole = match_areas(ground_truth, found, THRESHOLDS, AREA_RANGES)
    monkeypatch.setattr("imbdet.evaluation.matching.MOST_PAIRS", 7)
    parts = match_areas(ground_truth, found, THRESHOLDS, AREA_RANGES)
    np.testing.assert_array_equal(parts.object, whole.object)
    assert (whole.object >= 0).sum() > 500


def resampled(ground_truth, found, weights):
    """The set in which image i is there weights[i] times, each copy with an id of its own next to the original's."""
    copies = int(weights.max())
    image_ids, objects, detections = [], [], []
    for i, image_id in enumerate(ground_truth.image_ids):
        for copy in range(int(weights[i])):
            own, rows = np.flatnonzero(ground_truth.image == i), np.flatnonzero(found.image_id == image_id)
            objects.append((np.full(len(own), len(image_ids)), own))
            detections.append((np.full(len(rows), image_id * copies + copy), rows))
            image_ids.append(image_id * copies + copy)
    image, own = (np.concatenate(column) for column in zip(*objects, strict=True))
    ids, rows = (np.concatenate(column) for column in zip(*detections, strict=True))
    g = ground_truth
    size = np.full(len(image_ids), 640.0)
    names = (g.class_names, g.category_ids)
    copied = (g.xywh[own], g.area[own], g.crowd[own])
    return (
        GroundTruth("resampled", *names, np.array(image_ids), size, size, image, g.label[own], *copied),
        Detections(ids, found.label[rows], found.score[rows], found.xywh[rows], g.class_names),
    )


@pytest.mark.parametrize("seed", range(2))
def test_a_draw_is_the_evaluation_of_the_resampled_images(seed):
    """Each of six draws against COCO's evaluator on a set that really holds the images that often."""
    ground_truth, found = crowded(seed, images=15, detections=500, classes=4)
    ranked = rank_detections(ground_truth, found)
    weights = image_weights(15, 6, seed).astype(np.float64)
    assert weights.max() >= 3 and (weights == 0).any()
    exact, fast = over_classes(ranked.metrics(weights)), over_classes(ranked.metrics(weights.astype(np.float32)))
    for draw in range(6):
        copy = resampled(ground_truth, found, weights[:, draw])
        result = evaluated(*copy)
        for name in COLUMNS:
            expected = optimal_lrp(*copy)["oLRP"] if name == "oLRP" else result[name]
            assert exact[name][draw] == pytest.approx(expected, abs=1e-13), name
            assert fast[name][draw] == pytest.approx(expected, abs=5e-3), name


def test_both_precisions_agree_where_recall_is_not_rounded():
    """16 objects: no draw of one image reaches one of the ten points that COCO rounds up."""
    document = truth(boxes=16, classes=1, images=1)
    rows = perfect(document)
    for i, row in enumerate(rows):
        row["score"] = 1 - i / 20
        row["bbox"] = [row["bbox"][0] + 2 * i, *row["bbox"][1:]]
    ranked = rank_detections(document, rows)
    np.testing.assert_allclose(ranked.metrics(np.ones((1, 1), np.float32)), ranked.metrics(), atol=1e-6)
    assert 0.1 < ranked.metrics()[0, 0, 0] < 0.9


def test_recall_points_as_cocos_floats_have_them():
    """For every ratio of two numbers up to 120, what numpy's search in COCO's 101 points gives."""
    objects = np.arange(1, 121)
    found = np.broadcast_to(np.arange(121)[:, None], (121, 120)).astype(np.float64)
    expected = np.searchsorted(RECALLS, found / objects, side="right")
    right = found <= objects
    np.testing.assert_array_equal(points_reached(found, objects)[right], expected[right])
    assert points_reached(np.array([[35.0]]), np.array([100]))[0, 0] == 35  # not the 36 of plain arithmetic
    assert points_reached(np.array([[35.0]], np.float32), np.array([100]))[0, 0] == 36


def test_ap_by_hand():
    """Two images with one object each; image 0: found (.9); image 1: a miss (.8), then found (.7).

    Weights (1, 1): precision 1 up to recall .5 (51 points), then 2/3 (50 points). Weights (2, 0): 1 everywhere.
    Weights (0, 2): two misses before the first: 2 / 4.
    """
    document = truth(boxes=2, classes=1, images=2)
    rows = perfect(document)
    rows[0]["score"], rows[1]["score"] = 0.9, 0.7
    rows.append({**rows[1], "bbox": [900, 5, 40, 50], "score": 0.8})
    ap = rank_detections(document, rows).metrics(np.array([[1.0, 2, 0], [1, 0, 2]]))[:, 0, 0]
    assert ap == pytest.approx([(51 + 50 * 2 / 3) / 101, 1, 0.5], abs=1e-14)


def test_a_class_that_a_draw_has_not_is_left_out():
    """Class 0 in image 0 is found, class 1 in image 1 is not; group means see only their own classes."""
    document = truth(boxes=2, classes=2, images=1)
    document["images"].append({"id": 11, "width": 100, "height": 100})
    document["annotations"][1]["image_id"] = 11
    ranked = rank_detections(document, perfect(document)[:1])
    draws = ranked.metrics(np.array([[1.0, 2, 0], [1, 0, 2]]))
    np.testing.assert_allclose(draws[:, :, 0], [[1, 0], [1, np.nan], [np.nan, 0]])
    means = over_classes(draws, {"rare": [1], "common": [], "frequent": [0]})
    np.testing.assert_allclose(means["AP"], [0.5, 1, 0])
    np.testing.assert_allclose(means["APr"], [0, np.nan, 0])
    assert np.isnan(means["APc"]).all() and np.isnan(means["APs"]).all()  # no class; no small object
    assert ranked.images_with_objects([0, 1]) == 2 and ranked.images_with_objects([1]) == 1
    assert ranked.images_with_objects([0, 1], "APs") == 0 and ranked.images_with_objects([]) == 0


def test_parts_of_the_draws_give_the_same(monkeypatch):
    ground_truth, found = crowded(0)
    weights = image_weights(25, 7).astype(np.float64)
    whole = rank_detections(ground_truth, found).metrics(weights)
    monkeypatch.setattr("imbdet.evaluation.bootstrap._MOST", 20)
    np.testing.assert_allclose(rank_detections(ground_truth, found).metrics(weights), whole, rtol=0, atol=1e-13)


def test_nothing_found_and_nothing_to_find():
    none = Detections([], [], [], np.zeros((0, 4)), ("class 0", "class 1"))
    assert (rank_detections(truth(), none).metrics()[0, :, [0, 1, 6]] <= 0).sum() == 4  # AP, AP50 of both; no large one
    assert rank_detections(truth(), none).metrics()[0, :, COLUMNS.index("oLRP")].tolist() == [1, 1]
    assert np.isnan(rank_detections(truth(boxes=0), none).metrics()).all()


def test_weights_are_draws_with_replacement():
    """Columns sum to N; a weight is binomial: mean 1, variance 1 - 1/N; the same seed draws the same."""
    weights = image_weights(50, 4000, seed=3)
    assert (weights.sum(axis=0) == 50).all() and (weights == image_weights(50, 4000, seed=3)).all()
    assert weights.mean() == 1 and weights.var() == pytest.approx(1 - 1 / 50, rel=0.02)
    assert not np.array_equal(weights, image_weights(50, 4000, seed=4))


def test_percentiles_of_a_mean_are_scipys():
    values = np.random.default_rng(0).exponential(size=60)
    weights = image_weights(60, 20_000, seed=1)
    mine = np.percentile(values @ weights / 60, [2.5, 97.5])
    reference = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2)
    spread = reference.standard_error
    assert mine == pytest.approx(list(reference.confidence_interval), abs=0.05 * spread)
    assert np.std(values @ weights / 60) == pytest.approx(spread, rel=0.03)


def test_the_benchmark_of_a_comparison_computes_what_the_evaluator_does():
    row = benchmark_comparison(images=30, detections=300, classes=3, arms=3, seeds=2, draws=20)
    assert row["exact"] and 0 < row["sd"] < 0.2
    parts = ("read", "match", "tide", "weights", "bootstrap", "judge")
    assert row["total"] == pytest.approx(sum(row[name] for name in parts))


def test_wrong_weights():
    ranked = rank_detections(truth(), perfect(truth()))
    with pytest.raises(ValueError, match=r"weights must be \(2, draws\), got \(3, 5\)"):
        ranked.metrics(np.ones((3, 5)))
    with pytest.raises(ValueError, match="0 draws"):
        image_weights(3, 0)


def test_columns():
    assert COLUMNS == ("AP", "AP50", "AP75", "AP90", "APs", "APm", "APl", "oLRP")
    assert [round(float(THRESHOLDS[AVERAGES[name][0]][0]), 2) for name in ("AP50", "AP75", "AP90")] == [0.5, 0.75, 0.9]
