"""Section 1: counts, imbalance, co-occurrence, and the half-width of AP, each against a hand-made file or a library."""

import math

import numpy as np
import pytest

from imbdet.data.datasets.coco import records_from_coco
from imbdet.diagnose.classes import JUDGED, SPREAD, co_occurrence, diagnose_classes, half_width, imbalance
from imbdet.diagnose.structures import Missing

from .helpers import box, make_records


def test_imbalance_by_hand():
    """Counts 1, 3, 0: the absent class takes no part. Gini of (1/4, 3/4): mean absolute difference / (2 mean) = 1/4."""
    values = imbalance(np.array([1, 3, 0]))
    assert values["classes"] == 2 and values["ratio"] == 3 and values["largest_share"] == 0.75
    assert values["gini"] == pytest.approx(0.25)
    assert values["entropy"] == pytest.approx(-(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)))
    assert values["effective_classes"] == pytest.approx(2 ** values["entropy"])


def test_imbalance_of_equal_and_of_no_classes():
    assert imbalance(np.array([5, 5, 5, 5]))["gini"] == pytest.approx(0)
    assert imbalance(np.array([5, 5, 5, 5]))["effective_classes"] == pytest.approx(4)
    assert imbalance(np.zeros(3)) == {
        "classes": 0, "ratio": None, "gini": None, "entropy": None, "effective_classes": None, "largest_share": None,
    }  # fmt: skip


def test_imbalance_against_scipy_and_a_double_loop():
    stats = pytest.importorskip("scipy.stats")
    counts = np.random.default_rng(0).integers(1, 1000, 30)
    values = imbalance(counts)
    assert values["entropy"] == pytest.approx(stats.entropy(counts, base=2))
    differences = sum(abs(int(a) - int(b)) for a in counts for b in counts)
    assert values["gini"] == pytest.approx(differences / (2 * len(counts) ** 2 * counts.mean()))


def test_counts_shares_and_order_of_classes():
    """train: a 3 boxes in 2 images, b 1 in 1; test: b 1 in 1. Shares differ by 3/4 for both a and b, c by 0."""
    train = make_records([[box(0), box(0), box(1)], [box(0)], []])
    test = make_records([[box(1)]], name="test")
    numbers = diagnose_classes({"train": train, "test": test})
    rows = {row["name"]: row for row in numbers["rows"]}
    assert rows["a"]["boxes"] == {"train": 3, "test": 0} and rows["a"]["images"] == {"train": 2, "test": 0}
    assert rows["b"]["share"] == {"train": 0.25, "test": 1.0} and rows["b"]["difference"] == 0.75
    assert [row["name"] for row in numbers["rows"]][-1] == "c"
    assert numbers["missing_in"] == {"train": ["c"], "test": ["a", "c"]}
    assert numbers["objects_per_image"]["train"]["empty"] == 1
    assert numbers["objects_per_image"]["train"]["histogram"][:4] == [1, 1, 0, 1]
    assert numbers["judged_on"] == "test" and rows["a"]["half_width"] is None and rows["b"]["judgeable"] is False
    assert numbers["cannot_be_judged"] == ["a", "b", "c"]


def test_crowd_regions_do_not_count():
    numbers = diagnose_classes({"train": make_records([[box(0), box(1)]], crowd=[1])})
    assert {row["name"]: row["boxes"]["train"] for row in numbers["rows"]} == {"a": 1, "b": 0, "c": 0}
    assert numbers["judged_on"] is None and numbers["cannot_be_judged"] is None


def test_no_box_at_all_is_said():
    with pytest.raises(Missing, match="No split has a box"):
        diagnose_classes({"train": make_records([[], []])})


def test_co_occurrence_against_a_loop():
    rng = np.random.default_rng(1)
    images = [[box(int(k)) for k in rng.integers(0, 3, rng.integers(0, 5))] for _ in range(40)]
    numbers = co_occurrence(make_records(images))
    for a in range(3):
        for b in range(3):
            both = sum({a, b} <= {row[0] for row in image} for image in images)
            assert numbers["matrix"][a][b] == both
    pair = numbers["pairs"][0]
    a, b = "abc".index(pair["a"]), "abc".index(pair["b"])
    held = [sum(k in {row[0] for row in image} for image in images) for k in (a, b)]
    assert pair["lift"] == pytest.approx(pair["images"] * 40 / (held[0] * held[1]))
    assert pair["share_of_a"] == pytest.approx(pair["images"] / held[0])


def test_the_rarest_class_and_the_most_frequent():
    """b is in 2 images, in 1 of them with a; equal classes have nothing to balance."""
    found = co_occurrence(make_records([[box(0), box(0), box(1)], [box(1)], [box(0)], [box(0)]]))
    assert (found["rarest"], found["most_frequent"], found["rarest_with_most_frequent"]) == ("b", "a", 0.5)
    assert co_occurrence(make_records([[box(0), box(1)]]))["rarest_with_most_frequent"] is None


def test_counts_equal_those_of_pycocotools():
    coco_tools = pytest.importorskip("pycocotools.coco")
    rng = np.random.default_rng(2)
    truth = {
        "images": [{"id": i, "width": 50, "height": 50, "file_name": f"{i}.jpg"} for i in range(1, 21)],
        "categories": [{"id": k, "name": f"class {k}"} for k in (3, 7, 9)],
        "annotations": [
            {"id": i, "image_id": int(rng.integers(1, 21)), "category_id": int(rng.choice([3, 7, 9])),
             "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": int(rng.random() < 0.1)}
            for i in range(1, 101)
        ],
    }  # fmt: skip
    coco = coco_tools.COCO()
    coco.dataset = truth
    coco.createIndex()
    numbers = diagnose_classes({"train": records_from_coco(truth, "t.json", ".")})
    for row, k in zip(sorted(numbers["rows"], key=lambda r: r["name"]), (3, 7, 9), strict=True):
        found = coco.loadAnns(coco.getAnnIds(catIds=[k], iscrowd=False))
        assert row["boxes"]["train"] == len(found)
        assert row["images"]["train"] == len({a["image_id"] for a in found})


def test_half_width_by_hand():
    """1.96 * 0.32 / sqrt(100) = 0.0627; the limit of JUDGED lies between 39 and 40 objects."""
    assert half_width(100) == pytest.approx(0.06272) and half_width(0) is None and half_width(0.01) == 1
    assert half_width(39) > JUDGED > half_width(40)


@pytest.mark.parametrize("quality", [0.03, 0.07])
def test_the_spread_of_ap_is_what_resampled_test_sets_show(quality):
    """The evaluator on 400 drawn test sets of n objects: sqrt(n) times the standard deviation of AP is around SPREAD,
    lower for loose boxes and higher for tight ones, and never above the binomial bound of 0.5.
    """
    from imbdet.evaluation.bootstrap import rank_detections
    from imbdet.evaluation.detections import Detections
    from imbdet.evaluation.ground_truth import as_ground_truth

    rng, pool = np.random.default_rng(3), 3000
    truth = as_ground_truth(make_records([[box(0, 10, 10, 40, 40)]] * pool, classes=("a",)))
    found = rng.random(pool) < 0.7
    boxes = truth.xywh[found] + rng.normal(0, quality * 40, (found.sum(), 4))
    wrong = pool // 2
    detections = Detections(
        image_id=np.concatenate([truth.image_ids[found], rng.choice(truth.image_ids, wrong)]),
        label=np.zeros(found.sum() + wrong),
        score=np.concatenate([rng.beta(3, 2, found.sum()), rng.beta(2, 3, wrong)]),
        xywh=np.vstack([boxes.clip(1), np.tile([60, 60, 30, 30], (wrong, 1))]),
    )
    ranked = rank_detections(truth, detections)
    for n in (20, 100, 500):
        weights = np.stack([np.bincount(rng.integers(0, pool, n), minlength=pool) for _ in range(400)], axis=1)
        ap = ranked.metrics(weights.astype(np.float32))[:, 0, 0]
        assert 0.15 < ap.mean() < 0.6
        assert 0.6 * SPREAD < ap.std() * math.sqrt(n) < 0.5, (n, ap.mean(), ap.std() * math.sqrt(n))


def test_reference_values_follow_from_the_counts():
    """The counts of the training splits, as their authors' files hold them; of LVIS the few that decide the ratio."""
    from imbdet.diagnose.reference import IMBALANCE, OBJECTS, SIZES

    voc = [306, 353, 486, 290, 505, 229, 1250, 376, 798, 259, 215, 510, 362, 339, 4690, 514, 257, 248, 297, 324]
    counts = {
        "BCCD train": [2381, 214, 209],
        "Aquarium train": [1960, 385, 330, 259, 175, 136, 78],
        "VOC 2007 trainval": voc,
    }
    rows = {row["name"]: row for row in IMBALANCE}
    for name, boxes in counts.items():
        for key, value in imbalance(np.array(boxes)).items():
            assert rows[name][key] == pytest.approx(value), (name, key)
    lvis, total = rows["LVIS v1 train"], 1_270_141
    assert lvis["ratio"] == 50552 / 1 and lvis["largest_share"] == pytest.approx(50552 / total)
    assert 2 ** lvis["entropy"] == pytest.approx(lvis["effective_classes"]) and lvis["classes"] == 1203
    means = {row["name"]: row["mean"] * row["images"] for row in OBJECTS if "images" in row}
    assert means == pytest.approx({**{name: sum(boxes) for name, boxes in counts.items()}, lvis["name"]: total})
    for row in SIZES:
        assert row["source"] and sum(row[key] for key in ("small", "medium", "large")) == pytest.approx(1, abs=0.011)
