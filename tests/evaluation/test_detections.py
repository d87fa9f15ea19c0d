"""Reading results: what is right comes through exactly, what is wrong is named with row and value."""

import json

import numpy as np
import pytest

from imbdet.evaluation import Detections, as_ground_truth

from .cases import perfect, truth

ROW = {"image_id": 10, "category_id": 2, "bbox": [1.5, 2, 3, 4], "score": 0.1}


def read(rows):
    return Detections.from_coco(rows, [1, 2], ("a", "b"))


def test_there_and_back_at_full_precision(tmp_path):
    rows = [{**ROW, "score": 0.1 + 0.2, "bbox": [1 / 3, 2 / 3, 1e-9, 1e9]}, {**ROW, "category_id": 1}]
    found = read(rows)
    assert found.to_coco([1, 2]) == rows
    found.save(tmp_path / "new" / "results.json", [1, 2])
    assert json.loads((tmp_path / "new" / "results.json").read_text()) == rows
    assert read(tmp_path / "new" / "results.json").to_coco([1, 2]) == rows
    assert found.label.dtype == np.int32 and found.xywh.dtype == found.score.dtype == np.float64


def test_empty_results_are_results(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("[]")
    assert len(read(path)) == len(read([])) == 0
    assert read([]).to_coco([1, 2]) == []


def test_extra_keys_whole_floats_and_numpy_scalars_are_taken():
    rows = [
        {**ROW, "segmentation": {"counts": "x"}, "id": 3},
        {**ROW, "image_id": 10.0, "category_id": 2.0},
        {**ROW, "image_id": np.int64(10), "bbox": np.array([1.5, 2, 3, 4], np.float32), "score": np.float32(0.5)},
    ]
    found = read(rows)
    assert found.image_id.tolist() == [10, 10, 10] and found.xywh[2].tolist() == [1.5, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"score": float("nan")}, r"\[1\]: score is nan .*image id 10"),
        ({"score": float("inf")}, r"\[1\]: score is inf"),
        ({"bbox": [0, float("-inf"), 1, 1]}, r"\[1\]: bbox is .*-inf"),
        ({"bbox": [9, 9, -1, 1]}, r"\[1\]: bbox is \[9.0, 9.0, -1.0, 1.0\].*not two corners"),
        ({"bbox": [1, 2, 3]}, r"length 4.*\$\[1\]\.bbox"),
        ({"bbox": None}, r"\$\[1\]\.bbox"),
        ({"score": "high"}, r"\$\[1\]\.score"),
        ({"image_id": "img_1"}, r"\[1\]\.image_id is 'img_1'; ids must be whole"),
        ({"image_id": 1.5}, r"\[1\]\.image_id is 1\.5; ids must be whole"),
        ({"category_id": 99}, r"\[1\]: category_id is 99.*has 1, 2"),
    ],
)
@pytest.mark.parametrize("as_file", (False, True))
def test_a_wrong_row_is_named(tmp_path, change, said, as_file):
    rows = [ROW, {**ROW, **change}]
    if as_file:
        (tmp_path / "results.json").write_text(json.dumps(rows))  # writes NaN and Infinity, as many programs do
        said = r"results\.json.*" + said
        rows = tmp_path / "results.json"
    with pytest.raises(ValueError, match=said):
        read(rows)


def test_a_missing_key_is_named():
    rows = [ROW, {key: value for key, value in ROW.items() if key != "bbox"}]
    with pytest.raises(ValueError, match=r"required field `bbox` - at `\$\[1\]`"):
        read(rows)


@pytest.mark.parametrize(
    ("used", "said"), [((0, 1), r"known with \+1"), ((2, 3), "known with -1"), ((0, 1, 0), r"\+1")]
)
def test_category_ids_off_by_one(used, said):
    with pytest.raises(ValueError, match=said):
        read([{**ROW, "category_id": category} for category in used])


def test_labels_instead_of_category_ids():
    with pytest.raises(ValueError, match=r"labels 0\.\.2"):
        Detections.from_coco([{**ROW, "category_id": k} for k in (0, 1, 2)], [1, 5, 9])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("[{", "ends in the middle"),
        ('{"annotations": []}', "under one of its keys"),
        ("3", "a list of"),
        ("null", "a list of"),
    ],
)
def test_files_that_are_no_results(tmp_path, text, said):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"results\.json: .*{said}"):
        read(path)


def test_files_that_are_no_ground_truth(tmp_path):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(perfect(truth())))
    with pytest.raises(ValueError, match="are ground truth and results swapped"):
        as_ground_truth(path)
    path.write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(ValueError, match="required field `categories`"):
        as_ground_truth(path)
    with pytest.raises(FileNotFoundError):
        as_ground_truth(tmp_path / "nothing.json")


def test_columns_of_different_lengths():
    with pytest.raises(ValueError, match="different lengths.*'score': 2"):
        Detections([1], [0], [0.5, 0.6], [[0, 0, 1, 1]])


def test_take_rows():
    found = read([{**ROW, "score": s} for s in (0.1, 0.2, 0.3)])
    assert found.take(found.score > 0.15).score.tolist() == [0.2, 0.3]
    assert found.take(np.array([2, 0])).score.tolist() == [0.3, 0.1]
