"""The checks before a training: the same faults, on records."""

import pytest

from imbdet.data.checks import check_before_training, check_splits, quick_checks
from imbdet.data.datasets.coco import load_coco, records_from_coco
from imbdet.data.datasets.folder import coco_folder


def read(coco):
    return records_from_coco(coco, "train.json", ".")


@pytest.mark.parametrize(
    ("change", "code", "severity"),
    [
        (lambda c: c["annotations"][2].update(bbox=[9, 9, -5, 4]), "box_negative_size", "error"),
        (lambda c: c["annotations"][2].update(bbox=[9, 9, 0, 4]), "box_zero_size", "warning"),
        (lambda c: c["annotations"][2].update(bbox=[40, 9, 5, 5]), "box_outside", "error"),
        (lambda c: c["annotations"][2].update(bbox=[37, 9, 5, 5]), "box_partly_outside", "warning"),
        (lambda c: c["annotations"][2].update(bbox=[float("nan"), 9, 5, 5]), "box_not_finite", "error"),
        (lambda c: c["annotations"][2].update(area=1000), "wrong_area", "warning"),
        (lambda c: c["annotations"][2].update(id=0), "annotation_id_0", "warning"),
        (lambda c: c["annotations"][2].update(id=1), "duplicate_annotation_id", "error"),
        (lambda c: c["categories"].append({"id": 1, "name": "cow"}), "class_without_boxes", "warning"),
        (lambda c: c["images"].append({"id": 1, "file_name": "c", "width": 0, "height": 5}), "image_size", "error"),
        (lambda c: c.update(annotations=[]), "no_boxes", "error"),
    ],
)
def test_fault_is_found(coco, change, code, severity):
    assert quick_checks(read(coco)) == []
    change(coco)
    found = [f for f in quick_checks(read(coco)) if f.code != "images_without_objects"]
    assert [(f.code, f.severity, f.file) for f in found] == [(code, severity, "train.json")]


def test_ids_and_values_are_the_files(coco):
    coco["annotations"][2]["bbox"] = [40, 9, 5, 5]
    (finding,) = quick_checks(read(coco))
    assert str(finding) == "image 3, annotation 3: [40.0, 9.0, 5.0, 5.0] in an image of 40x50"


def test_training_is_refused_with_all_errors_at_once(coco):
    coco["annotations"][0]["bbox"] = [40, 9, 5, 5]
    coco["annotations"][1]["bbox"] = [1, 1, -1, 1]
    with pytest.raises(ValueError, match=r"(?s)negative size.*outside its image.*check_data train.json") as error:
        check_before_training(read(coco))
    assert "annotation 1: [40.0" in str(error.value) and "annotation 2: [1.0" in str(error.value)


def test_warnings_do_not_refuse(coco):
    coco["annotations"][2]["id"] = 0
    assert [f.code for f in check_before_training(read(coco))] == ["annotation_id_0"]


def test_splits_are_compared_by_class_name(coco):
    train = read(coco)
    coco["categories"] = [{"id": 9, "name": "dog"}, {"id": 4, "name": "Cat"}]
    for annotation in coco["annotations"]:
        annotation["category_id"] = {9: 9, 2: 4}[annotation["category_id"]]
    found = {f.code: f.value for f in check_splits(train, read(coco))}
    assert found["classes_differ"] == "'Cat' with 2 boxes; train has 'cat'" and found["class_missing"] == "'cat'"


def test_labels_in_another_order_are_an_error(coco):
    train = read(coco)
    coco["categories"] = [{"id": 9, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert {f.code for f in check_splits(train, read(coco))} >= {"classes_differ", "category_ids_differ"}


def test_pictures_in_both_splits(coco, write, pictures):
    folder = pictures(coco)
    train, val = load_coco(write(coco, "train.json"), folder), load_coco(write(coco, "val.json"), folder)
    assert [f.code for f in check_splits(train, val)] == ["same_picture"] * 2
    other = load_coco(write(coco, "val.json"), pictures(coco, "other", seed=0))
    assert [f.code for f in check_splits(train, other)] == ["same_file_name"] * 2
    without = load_coco(write(coco, "val.json"), folder, keep_empty=False)
    assert [f.code for f in check_splits(train, without)] == ["same_picture"] * 2


def test_bccd_is_clean(shared_data):
    train, val = (coco_folder(str(shared_data / "bccd"), split) for split in ("train", "val"))
    assert check_before_training(train, val) == []
