"""The COCO reader against plain loops, pycocotools, and wrong files."""

import gc
import json
import os

import numpy as np
import pytest

from benchmarks.reader import generate_coco_json
from imbdet.data.datasets.classes import align_classes
from imbdet.data.datasets.coco import load_coco, read_class_names, records_from_coco


def test_reads_a_small_file(coco, write):
    path = write(coco)
    records = load_coco(path)
    assert records.class_names == ("cat", "dog") and records.category_ids.tolist() == [2, 9]
    assert records.image_ids.tolist() == [5, 3] and records.widths.tolist() == [64, 40]
    assert records.offsets.tolist() == [0, 1, 3]
    assert records.annotation_ids.tolist() == [2, 1, 3]  # grouped by image, in the file's order within one
    assert records.labels.tolist() == [0, 1, 0]
    assert records.xywh.tolist() == [[0, 0, 30.5, 40], [1, 2, 10, 20], [5, 5, 5, 5]]
    assert records.name == "train" and records.source == path
    assert records.images.name(1) == "b.png"
    assert read_class_names(path) == ("cat", "dog")
    assert gc.isenabled()


def test_missing_area_and_iscrowd(coco, write):
    for annotation in coco["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    coco["annotations"][1]["area"] = None
    coco["annotations"][2]["area"] = 7
    records = load_coco(write(coco))
    assert records.areas.tolist() == [1220, 200, 7] and not records.crowd.any()


def test_crowd_and_empty_images(coco, write):
    coco["annotations"][1]["iscrowd"] = 1
    path = write(coco)
    assert load_coco(path).num_empty == 1 and load_coco(path).crowd.tolist() == [True, False, False]
    without = load_coco(path, keep_empty=False)
    assert without.image_ids.tolist() == [3] and without.num_empty == 0


def test_is_cached_until_the_file_changes(coco, write):
    path = write(coco)
    first = load_coco(path)
    assert load_coco(path) is first and load_coco(path, keep_empty=False) is not first
    before = os.stat(path)
    coco["annotations"].pop()
    write(coco)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as fast as the clock ticks
    assert load_coco(path).num_objects == 2
    write(coco)
    os.utime(path, ns=(1, 1))
    assert load_coco(path).num_objects == 2 and load_coco(path) is not first


def test_round_trip_of_real_annotations(shared_data):
    path = shared_data / "coco_val2014_100" / "instances_val2014_100.json"
    content = json.loads(path.read_text())
    records = load_coco(str(path))
    back = records.to_coco()
    wanted = {a["id"]: a for a in content["annotations"]}
    assert len(back["annotations"]) == len(wanted) == 839
    for annotation in back["annotations"]:
        original = wanted[annotation["id"]]
        assert all(annotation[key] == original[key] for key in annotation)
    assert {c["id"]: c["name"] for c in content["categories"]} == {c["id"]: c["name"] for c in back["categories"]}


def test_generated_file_equals_pycocotools(tmp_path, capsys):
    from pycocotools.coco import COCO

    path = str(tmp_path / "generated.json")
    size = generate_coco_json(path, images=300, boxes=2000)
    assert size == os.path.getsize(path)
    records, theirs = load_coco(path), COCO(path)
    assert records.image_ids.tolist() == theirs.getImgIds()
    assert records.num_classes == len(theirs.getCatIds()) == 80
    for i, image_id in enumerate(records.image_ids.tolist()):
        begin, end = records.offsets[i : i + 2]
        annotations = theirs.imgToAnns[image_id]
        assert records.xywh[begin:end].tolist() == [a["bbox"] for a in annotations]
        assert records.areas[begin:end].tolist() == [a["area"] for a in annotations]
        assert records.category_ids[records.labels[begin:end]].tolist() == [a["category_id"] for a in annotations]


def test_image_ids_far_apart(coco, write):
    coco["images"][0]["id"] = coco["annotations"][1]["image_id"] = 9_000_000_000_000
    records = load_coco(write(coco))
    assert records.image_ids.tolist() == [9_000_000_000_000, 3] and records.annotation_ids.tolist() == [2, 1, 3]


def test_lvis_url_and_windows_names(coco, write):
    del coco["images"][0]["file_name"]
    coco["images"][0]["coco_url"] = "http://images.example.org/train2017/000000000005.jpg"
    coco["images"][1]["file_name"] = "sub\\b.png"
    names = load_coco(write(coco)).images
    assert names.name(0) == "train2017/000000000005.jpg"
    assert os.name == "nt" or names.name(1) == "sub/b.png"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("annotations"), r"\$: Object missing required field `annotations`.*Expected: a list of"),
        (lambda c: c["annotations"][2].pop("bbox"), r"\$\.annotations\[2\].*`bbox`.*four numbers"),
        (lambda c: c["annotations"][1].update(id=[]), r"\$\.annotations\[1\]\.id: Expected `int`, got `array`.*unique"),
        (lambda c: c["annotations"][1].update(id=2**63), r"id 9223372036854775808 \(number 1 .* beyond 64 bits"),
        (lambda c: c["images"][1].update(width=2**53), r"\$\.images\[1\]\.width is 9\.0.*pixels"),
        (lambda c: c["images"][1].update(height=float("inf")), r"\$\.images\[1\]\.height is inf.*pixels"),
        (lambda c: c["annotations"][1].update(bbox=[1, 2, 3]), r"\$\.annotations\[1\]\.bbox.*length 4"),
        (lambda c: c["images"][1].pop("width"), r"\$\.images\[1\].*`width`.*pixels"),
        (lambda c: c["images"][1].pop("file_name"), r"\$\.images\[1\] lacks `file_name`"),
        (lambda c: c["images"][1].update(id=5), r"\$\.images\[1\]\.id is 5, as is \$\.images\[0\]\.id"),
        (
            lambda c: c["annotations"][1].update(image_id=7),
            r"annotations\[1\]\.image_id is 7: no image has this id",
        ),
        (lambda c: c["annotations"][0].update(category_id=1), r"annotations\[0\]\.category_id is 1: no category"),
        (lambda c: c["annotations"][0].update(category_id=10**18), r"category_id is 10+: no category"),
        (lambda c: c["categories"][1].update(id=9), r"\$\.categories\[1\]\.id is 9"),
        (lambda c: c["categories"][1].update(name="dog"), r"several categories are called 'dog'"),
        (lambda c: c.update(images=[]), r"\$\.images is empty"),
        (lambda c: c.update(annotations=[], categories=[]), r"\$\.categories is empty"),
    ],
)
def test_wrong_content_names_file_place_and_remedy(coco, write, change, message):
    change(coco)
    path = write(coco)
    with pytest.raises(ValueError, match=message) as error:
        load_coco(path)
    assert str(error.value).startswith(path)
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ('{"images": [', "ends in the middle, after 12 bytes"),
        ('{"images":\n [Nan]}', "line 2, column 3.*invalid character"),
        ("\ufeff{}", "missing required field `images`"),
        ("[" * 100_000, "nested too deep"),
        ("<html>", "is not JSON at line 1, column 1"),
        ("[]", "a list is what a file of detection results holds"),
    ],
)
def test_wrong_text_says_where(write, text, message):
    with pytest.raises(ValueError, match=message):
        load_coco(write(text))


def test_missing_file_and_folder(coco, write, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such annotation file"):
        load_coco(str(tmp_path / "nothing.json"))
    with pytest.raises(FileNotFoundError, match="no such folder of pictures"):
        load_coco(write(coco), images=str(tmp_path / "nothing"))


def test_align_classes_by_name(coco):
    records = records_from_coco(coco, "val.json", ".")
    other = align_classes(records, ["dog", "bird", "cat", "cow"])
    assert other.class_names == ("dog", "bird", "cat", "cow")
    assert other.category_ids.tolist() == [9, 10, 2, 11]  # the file's own, and unused ones for bird and cow
    named = [other.class_names[label] for label in other.labels]
    assert named == [records.class_names[label] for label in records.labels] == ["cat", "dog", "cat"]
    assert other.to_coco()["annotations"] == records.to_coco()["annotations"]
    assert align_classes(records, ["cat", "dog"]) is records


def test_align_classes_drops_what_has_no_box_and_refuses_what_has(coco):
    coco["categories"].append({"id": 0, "name": "animals"})
    records = records_from_coco(coco, "val.json", ".")
    assert records.class_names == ("animals", "cat", "dog")
    assert align_classes(records, ["cat", "dog"]).labels.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match=r"val.json: .*does not have: 'dog'.*missing here: 'Dog'"):
        align_classes(records, ["cat", "Dog"])


def test_no_annotations_is_read(coco, write):
    coco["annotations"] = []
    records = load_coco(write(coco))
    assert records.num_empty == len(records) == 2 and records.xywh.shape == (0, 4)
    assert np.array_equal(records.class_counts(), [0, 0])
