"""Every layout a COCO folder comes in, and what a wrong folder says."""

import json

import pytest

from imbdet.data.datasets.folder import coco_folder, detect_format, folder_records

LAYOUTS = {
    "ours": ("instances_{s}.json", "images/{s}"),
    "coco": ("annotations/instances_{s}2017.json", "{s}2017"),
    "coco with images": ("annotations/instances_{s}.json", "images/{s}"),
    "one folder of pictures": ("annotations/{s}.json", "images"),
    "roboflow": ("{s}/_annotations.coco.json", "{s}"),
    "fiftyone": ("{s}/labels.json", "{s}/data"),
    "all in the root": ("{s}.json", "."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("split", ["train", "valid"])
def test_finds_annotations_and_pictures(coco, write, pictures, tmp_path, layout, split):
    annotations, folder = (part.format(s=split) for part in LAYOUTS[layout])
    write(coco, annotations)
    pictures(coco, folder)
    records = coco_folder(str(tmp_path), "train" if split == "train" else "val")
    assert len(records) == 2 and records.images[1].shape == (3, 50, 40)
    assert records.name == ("train" if split == "train" else "val")
    assert detect_format(str(tmp_path), split) == "coco"


def test_pictures_of_the_right_split_are_taken(coco, write, pictures, tmp_path):
    """Both splits name a.png and b.png: each must get its own."""
    for seed, split in enumerate(("train", "val")):
        write(coco, f"instances_{split}.json")
        pictures(coco, f"images/{split}", seed)
    train, val = (coco_folder(str(tmp_path), split).images for split in ("train", "val"))
    assert (train[0] != val[0]).any() and train.root.endswith("train") and val.root.endswith("val")


def test_validation_counts_labels_as_train_does(coco, write, pictures, tmp_path):
    pictures(coco)
    write(coco, "instances_train.json")
    coco["categories"] = [{"id": 9, "name": "cat"}, {"id": 2, "name": "dog"}]  # the ids exchanged
    write(coco, "instances_val.json")
    train, val = coco_folder(str(tmp_path), "train"), coco_folder(str(tmp_path), "val")
    assert train.class_names == val.class_names == ("cat", "dog") and val.category_ids.tolist() == [9, 2]
    assert (train.labels != val.labels).all()
    coco["categories"][0]["name"] = "Cat"
    write(coco, "instances_val.json")
    with pytest.raises(ValueError, match="instances_val.json: has boxes of classes.*'Cat'.*missing here: 'cat'"):
        coco_folder(str(tmp_path), "val")


@pytest.mark.parametrize("root", [None, "", "???"])
def test_no_root(root):
    with pytest.raises(ValueError, match="set data.root=DIR"):
        coco_folder(root)


def test_wrong_roots(coco, write, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        coco_folder(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="is a file"):
        coco_folder(write(coco))


def test_missing_split_is_never_replaced(coco, write, pictures, tmp_path):
    pictures(coco)
    write(coco, "instances_train.json")
    with pytest.raises(FileNotFoundError, match=r"no annotations of split 'test'.*instances_train.json"):
        coco_folder(str(tmp_path), "test")


def test_missing_pictures_list_where_they_were_looked_for(coco, write, tmp_path):
    write(coco, "instances_train.json")
    with pytest.raises(FileNotFoundError, match=r"none of its pictures was found \(e.g. 'a.png'\).*images/train"):
        coco_folder(str(tmp_path), "train")


def test_several_years_are_ambiguous(coco, write, pictures, tmp_path):
    pictures(coco)
    for year in (2014, 2017):
        write(coco, f"annotations/instances_train{year}.json")
    with pytest.raises(ValueError, match="instances_train2014.json, instances_train2017.json.*split=train2017"):
        coco_folder(str(tmp_path), "train")
    assert coco_folder(str(tmp_path), "train2017").source.endswith("instances_train2017.json")


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match="format='cocoo': expected one of auto, coco, voc, yolo"):
        folder_records(str(tmp_path), format="cocoo")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_bccd(shared_data, split):
    records = coco_folder(str(shared_data / "bccd"), split)
    content = json.loads((shared_data / "bccd" / f"instances_{split}.json").read_text())
    assert records.class_names == ("RBC", "WBC", "Platelets") and len(records) == len(content["images"])
    if split == "train":
        assert records.class_counts().tolist() == [2381, 214, 209]
    assert records.images[0].shape == (3, 480, 640)
