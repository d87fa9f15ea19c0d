"""COCO's numbers: equal to pycocotools bit for bit, and right where pycocotools is not."""

import copy
import json
import warnings

import numpy as np
import pytest

from benchmarks.evaluation import reference_evaluation, same_as_reference
from benchmarks.synthetic import generate_evaluation_set
from imbdet.evaluation import Detections, evaluate_coco
from imbdet.evaluation.metrics import BY_NAME, EVALUATED
from imbdet.evaluation.result import EvaluationWarning

from .cases import perfect, truth

BACKENDS = ("hotcoco", "pycocotools")

PUBLISHED = {
    "AP": 0.504581,
    "AP50": 0.696973,
    "AP75": 0.572982,
    "APs": 0.585626,
    "APm": 0.519400,
    "APl": 0.501398,
    "AR1": 0.386813,
    "AR10": 0.593680,
    "AR100": 0.595353,
    "ARs": 0.639811,
    "ARm": 0.566421,
    "ARl": 0.564291,
}


@pytest.fixture(autouse=True)
def no_warning():
    """A test that expects a warning says so; any other fails on one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", EvaluationWarning)
        yield


@pytest.fixture(scope="module")
def coco100(shared_data):
    folder = shared_data / "coco_val2014_100"
    return folder / "instances_val2014_100.json", folder / "instances_val2014_fakebbox100_results.json"


@pytest.mark.parametrize("backend", BACKENDS)
def test_published_numbers_of_coco(coco100, backend):
    result = evaluate_coco(*coco100, backend=backend)
    assert {key: round(result[key], 6) for key in PUBLISHED} == PUBLISHED
    assert "1 of 100 images have no detection; they count" in result.notes
    assert result.evaluator["name"] == backend
    assert result.evaluator["max_dets"] == [1, 10, 100]


@pytest.mark.parametrize("backend", BACKENDS)
def test_bits_of_pycocotools_on_real_data(coco100, backend):
    reference = reference_evaluation(*(json.loads(path.read_text()) for path in coco100))
    assert same_as_reference(evaluate_coco(*coco100, backend=backend), reference)


def test_sums_over_real_classes_are_in_the_order_of_category_ids(coco100):
    """Classes listed in another order must not change a bit of a mean, and each class keeps its own numbers."""
    document = json.loads(coco100[0].read_text())
    result = evaluate_coco(document, coco100[1])
    document["categories"].reverse()
    turned = evaluate_coco(document, coco100[1])
    assert turned.metrics == result.metrics
    assert turned.per_class == result.per_class[::-1]


@pytest.mark.parametrize("seed", range(4))
def test_bits_of_pycocotools_on_generated_sets(seed):
    ground_truth, found = generate_evaluation_set(images=25, detections=600, classes=6, seed=seed)
    reference = reference_evaluation(ground_truth.to_coco(), found.to_coco(ground_truth.category_ids))
    for backend in BACKENDS:
        result = evaluate_coco(ground_truth, found, backend=backend)
        assert same_as_reference(result, reference)
        assert 0.05 < result["AP50"] < 0.9  # neither trivial nor hopeless


@pytest.mark.slow
def test_bits_of_pycocotools_on_the_full_generated_set():
    ground_truth, found = generate_evaluation_set()
    reference = reference_evaluation(ground_truth.to_coco(), found.to_coco(ground_truth.category_ids))
    assert same_as_reference(evaluate_coco(ground_truth, found), reference)


def test_a_generated_set_is_a_function_of_its_arguments():
    first, second = (generate_evaluation_set(20, 300, 5, seed=3) for _ in range(2))
    assert first[0].to_coco() == second[0].to_coco()
    assert first[1].to_coco(first[0].category_ids) == second[1].to_coco(second[0].category_ids)
    other = generate_evaluation_set(20, 300, 5, seed=4)
    assert other[0].to_coco() != first[0].to_coco()
    assert len(first[1]) == 300 and len(first[0]) == 20


def test_ap_by_hand():
    """One class, two objects. Best first: a hit, a miss, a hit. Precision at recall .5 is 1/1, at recall 1 it is 2/3.

    Recall points 0, .01 ... .5 (51 of them) see 1, the other 50 see 2/3, at every IoU threshold.
    """
    document = truth(boxes=2, classes=1, images=1)
    rows = perfect(document)
    rows[0]["score"], rows[1]["score"] = 0.9, 0.3
    rows.insert(1, {"image_id": 10, "category_id": 1, "bbox": [500, 5, 40, 50], "score": 0.5})
    result = evaluate_coco(document, rows)
    assert result["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
    assert result["AR1"] == 0.5 and result["AR10"] == 1.0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("boxes", (1, 2, 100))
def test_annotation_ids_from_zero(backend, boxes):
    """pycocotools gives 0.000, 0.252 and 0.980 here."""
    document = truth(boxes=boxes, classes=1, images=1)
    for index, annotation in enumerate(document["annotations"]):
        annotation["id"] = index
    result = evaluate_coco(document, perfect(document), backend=backend)
    assert result["AP"] == pytest.approx(1, abs=1e-12)
    assert any("numbered anew" in note for note in result.notes)


def test_pycocotools_itself_still_falls_into_the_trap():
    """If this fails, the trap has been closed upstream and the numbering may be thought over."""
    document = truth(boxes=2, classes=1, images=1)
    for index, annotation in enumerate(document["annotations"]):
        annotation["id"] = index
    assert reference_evaluation(document, perfect(document)).stats[0] == pytest.approx(0.252, abs=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_duplicate_annotation_ids(backend):
    """pycocotools gives 0.564 for 2 repeated of 4."""
    document = truth(boxes=4)
    for annotation in document["annotations"]:
        annotation["id"] = min(annotation["id"], 2)
    result = evaluate_coco(document, perfect(document), backend=backend)
    assert result["AP"] == 1.0
    assert any("2 repeated" in note for note in result.notes)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("empty", ([], None))
def test_no_detection_at_all(backend, empty):
    """pycocotools raises IndexError for an empty list."""
    none = Detections([], [], [], np.zeros((0, 4)), ("class 0", "class 1"))
    with pytest.warns(EvaluationWarning, match="no detection at all"):
        result = evaluate_coco(truth(), none if empty is None else empty, backend=backend)
    assert [result[key] for key in ("AP", "AP50", "APm", "AR100")] == [0.0] * 4
    assert result["APs"] == -1.0  # there is no small object
    assert [row["AP"] for row in result.per_class] == [0.0, 0.0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_missing_area_and_iscrowd(backend):
    """pycocotools raises KeyError; with area 0 every object would be small."""
    document = truth()
    whole = evaluate_coco(document, perfect(document), backend=backend)
    for annotation in document["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    result = evaluate_coco(document, perfect(document), backend=backend)
    assert result.metrics == whole.metrics
    assert result["APm"] == 1.0 and result["APs"] == -1.0
    assert any("no `area`" in note for note in result.notes) and any("iscrowd" in note for note in result.notes)


def test_wrong_area_is_kept_and_said():
    """All objects land in APs, as they do in pycocotools; the reader is told."""
    document = truth(area=1)
    with pytest.warns(EvaluationWarning, match="`area` that does not fit"):
        result = evaluate_coco(document, perfect(document))
    assert result["AP"] == result["APs"] == 1.0 and result["APm"] == -1.0


def test_class_with_objects_but_no_detection_counts_as_zero():
    document = truth(boxes=4, classes=2)
    rows = [row for row in perfect(document) if row["category_id"] == 1]
    result = evaluate_coco(document, rows)
    assert result["AP"] == 0.5
    assert [row["AP"] for row in result.per_class] == [1.0, 0.0]


def test_class_without_objects_is_left_out_and_said():
    document = truth()
    document["categories"].append({"id": 9, "name": "nowhere"})
    rows = perfect(document) + [{**perfect(document)[0], "category_id": 9} for _ in range(50)]
    result = evaluate_coco(document, rows)
    assert result["AP"] == 1.0
    assert result.per_class[2]["AP"] is None and result.per_class[2]["boxes"] == 0
    assert any("nowhere" in note and "50 detections" in note for note in result.notes)


def test_more_objects_in_an_image_than_detections_that_count():
    """150 objects, all found: pycocotools says 0.663 and nothing else."""
    document = truth(boxes=150, classes=1, images=1)
    with pytest.warns(EvaluationWarning, match="66.7% of all objects"):
        result = evaluate_coco(document, perfect(document))
    assert result["AR100"] == pytest.approx(2 / 3)
    assert result["AP"] == pytest.approx(0.663, abs=1e-3)
    raised = evaluate_coco(document, perfect(document), max_dets=(1, 10, 150))
    assert raised["AP"] == raised["AR150"] == 1.0
    assert raised.evaluator["max_dets"] == [1, 10, 150]


def test_ignore_flag_is_said():
    document = truth()
    document["annotations"][0]["ignore"] = 1
    with pytest.warns(EvaluationWarning, match="`ignore: 1`"):
        result = evaluate_coco(document, perfect(document)[1:])
    assert result["AP"] < 1  # it counts as an object that was missed


def test_crowd_regions_are_neither_objects_nor_mistakes():
    document = truth(boxes=4)
    document["annotations"][0]["iscrowd"] = 1
    result = evaluate_coco(document, perfect(document))
    assert result["AP"] == 1.0 and result.objects == 3


def test_category_ids_off_by_one_inside_the_known_ones():
    """Ids 1..3 written as 2..4 where the ground truth has 1..5: every id is known, so only the boxes can tell."""
    document = truth(boxes=30, classes=3)
    document["categories"] += [{"id": 4, "name": "four"}, {"id": 5, "name": "five"}]
    rows = perfect(document)
    for row in rows:
        row["category_id"] += 1
    with pytest.warns(EvaluationWarning, match="off by 1"):
        assert evaluate_coco(document, rows)["AP50"] == 0.0


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (lambda x, y, w, h: [x, y, x + w, y + h], "two corners"),
        (lambda x, y, w, h: [x + w / 2, y + h / 2, w, h], "center x"),
        (lambda x, y, w, h: [x / 640, y / 480, w / 640, h / 480], "shares of the picture"),
    ],
)
def test_boxes_in_another_form_are_guessed(reading, said):
    ground_truth, _ = generate_evaluation_set(images=30, detections=0, classes=3)
    document = ground_truth.to_coco()
    rows = perfect(document)
    for row in rows:
        row["bbox"] = reading(*row["bbox"])
    with pytest.warns(EvaluationWarning, match=said):
        evaluate_coco(document, rows)


def test_a_bad_model_is_not_taken_for_a_slip():
    """Right boxes with classes at random: no hint about ids."""
    rng = np.random.default_rng(0)
    document = truth(boxes=60, classes=20)
    rows = [{**row, "category_id": int(rng.integers(1, 21))} for row in perfect(document)]
    result = evaluate_coco(document, rows)
    assert result["AP50"] < 0.1 and result.warnings == []


def test_unknown_image_names_row_and_value():
    document = truth()
    rows = perfect(document)
    rows[2]["image_id"] = 77
    with pytest.raises(ValueError, match=r"\[2\]: image_id is 77, which is not in .*2 images, ids 10 to 11"):
        evaluate_coco(document, rows)


def test_no_image_known_has_a_hint():
    document = truth()
    rows = [{**row, "image_id": row["image_id"] - 10} for row in perfect(document)]
    with pytest.raises(ValueError, match=r"results of another split.*positions 0\.\.1"):
        evaluate_coco(document, rows)


def test_image_twice_and_nothing_to_evaluate_on():
    document = truth()
    document["images"].append(document["images"][0])
    with pytest.raises(ValueError, match="image id 10 occurs 2 times"):
        evaluate_coco(document, [])
    with pytest.raises(ValueError, match="no image to evaluate on"):
        evaluate_coco({"images": [], "annotations": [], "categories": []}, [])


def test_no_object_at_all():
    document = truth(boxes=0)
    with pytest.warns(EvaluationWarning, match="no object at all"):
        result = evaluate_coco(document, [])
    assert all(value == -1.0 for value in result.metrics.values())


@pytest.mark.parametrize(("box", "said"), [([0, 0, -4, 5], "-4"), ([0, 0, float("nan"), 5], "nan")])
def test_bad_boxes_of_the_ground_truth(box, said):
    document = truth()
    document["annotations"][3]["bbox"] = box
    with pytest.raises(ValueError, match=rf"object 3 \(image id 11\) has the box .*{said}"):
        evaluate_coco(document, [])


def test_empty_box_and_orphan_annotations_are_said():
    document = truth()
    document["annotations"][3]["bbox"] = [0, 0, 0, 5]
    document["annotations"].append({**document["annotations"][0], "image_id": 99})
    with pytest.warns(EvaluationWarning) as caught:
        result = evaluate_coco(document, perfect(truth())[:3])
    said = " ".join(str(w.message) for w in caught)
    assert "1 objects have an empty box" in said and "annotations[4].image_id = 99" in said
    assert result["AR100"] == pytest.approx((1 + 0.5) / 2)


def test_groups_by_lvis_where_all_three_have_members():
    train = {
        "images": [{"id": i} for i in range(150)],
        "categories": [{"id": k, "name": f"class {k}"} for k in range(3)],
        "annotations": [
            {"image_id": i, "category_id": k, "bbox": [0, 0, 9, 9]}
            for k, count in enumerate((10, 100, 101))
            for i in range(count)
        ],
    }
    document = truth(boxes=6, classes=3)
    rows = [row for row in perfect(document) if row["category_id"] != 1]
    result = evaluate_coco(document, rows, train)
    assert [row["group"] for row in result.per_class] == ["rare", "common", "frequent"]
    assert [result[key] for key in ("APr", "APc", "APf")] == [0.0, 1.0, 1.0]
    assert "LVIS" in result.groups["rule"] and "terciles" not in result.groups["rule"]
    assert [row["train_boxes"] for row in result.per_class] == [10, 100, 101]


def test_groups_by_terciles_else_matched_by_name():
    train = truth(boxes=12, classes=3)
    train["categories"] = [{"id": 1, "name": "class 2"}, {"id": 2, "name": "class 1"}, {"id": 3, "name": "class 0"}]
    train["annotations"] = train["annotations"][:1] + train["annotations"][2:]  # class 2 is now in one image of two
    document = truth(boxes=8, classes=4)
    with pytest.warns(EvaluationWarning, match="1 classes are not in the train data"):
        result = evaluate_coco(document, perfect(document), train)
    assert "terciles" in result.groups["rule"]
    assert result.per_class[2]["train_boxes"] == 3
    # Train images per train class, in its order "class 2", "class 1", "class 0": 1, 2, 2; ties keep that order.
    assert [row["group"] for row in result.per_class] == ["frequent", "common", "rare", None]


def test_classes_are_matched_by_name_not_by_place():
    document = truth(boxes=4)
    found = Detections.from_coco(perfect(document), [2, 1], ("class 1", "class 0"))
    assert evaluate_coco(document, found)["AP"] == 1.0
    stranger = Detections.from_coco(perfect(document), [1, 2], ("class 0", "zebra"))
    with pytest.raises(ValueError, match="zebra"):
        evaluate_coco(document, stranger)


def test_records_and_their_file_give_the_same(tiny_coco):
    from imbdet.data.datasets.folder import coco_folder

    records = coco_folder(root=str(tiny_coco), split="val")
    path = tiny_coco / "instances_val.json"
    rows = perfect({"annotations": [a for a in json.loads(path.read_text())["annotations"] if not a["iscrowd"]]})
    by_file = evaluate_coco(path, rows, tiny_coco / "instances_train.json")
    by_records = evaluate_coco(records, rows, coco_folder(root=str(tiny_coco), split="train"))
    assert by_file["AP"] == 1.0
    assert by_records.metrics == by_file.metrics and by_records.per_class == by_file.per_class


def test_wrong_arguments():
    with pytest.raises(ValueError, match="backend is 'coco'"):
        evaluate_coco(truth(), perfect(truth()), backend="coco")
    with pytest.raises(ValueError, match="max_dets"):
        evaluate_coco(truth(), [], max_dets=(0, 10))
    with pytest.raises(ValueError, match="not int"):
        evaluate_coco(3, [])


def test_hotcoco_is_not_needed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hotcoco", None)  # as if it were not installed
    result = evaluate_coco(truth(), perfect(truth()))
    assert result.evaluator["name"] == "pycocotools" and result["AP"] == 1.0
    with pytest.raises(ImportError):
        evaluate_coco(truth(), [], backend="hotcoco")


def test_arguments_are_left_as_they_were():
    document, rows = truth(), perfect(truth())
    before = copy.deepcopy((document, rows))
    for backend in BACKENDS:
        evaluate_coco(document, rows, backend=backend)
    assert (document, rows) == before


def test_names_of_the_metrics():
    assert list(evaluate_coco(truth(), perfect(truth())).metrics) == [
        name for name in EVALUATED if not BY_NAME[name].group
    ]
