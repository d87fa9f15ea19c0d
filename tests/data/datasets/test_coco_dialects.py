"""COCO as tools write it: masks without boxes, text ids, names from elsewhere, files under other names."""

import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from imbdet.commands.check_data import main
from imbdet.data.checks import check_before_training
from imbdet.data.datasets.coco import load_coco
from imbdet.data.datasets.coco_plain import mask_area, mask_box, understand, whole
from imbdet.data.datasets.folder import coco_folder, detect_format, folder_records
from imbdet.evaluation.coco import evaluate_coco
from imbdet.evaluation.detections import Detections

from ...conftest import SHARED_DATA
from ..conftest import noise, tiny_coco

CASES = SHARED_DATA.parent / "cases"


@pytest.mark.parametrize("seed", range(20))
def test_box_and_area_of_run_lengths_are_those_of_pycocotools(seed):
    draw = np.random.default_rng(seed)
    height, width = draw.integers(1, 30, 2)
    mask = np.asfortranarray(draw.random((height, width)) < draw.choice([0.02, 0.3, 1]), dtype=np.uint8)
    theirs = mask_utils.encode(mask)
    compressed = {"size": [int(height), int(width)], "counts": theirs["counts"].decode()}
    edges = np.flatnonzero(np.diff(mask.flatten(order="F"), prepend=0))
    counts = {**compressed, "counts": np.diff([0, *edges, mask.size]).tolist()}
    for mine in (compressed, counts):
        assert mask_area(mine) == mask.sum() == mask_utils.area(theirs)
        if mask.any():
            assert mask_box(mine) == mask_utils.toBbox(theirs).tolist()
        else:
            assert mask_box(mine) is None


@pytest.mark.parametrize(
    "mask",
    [None, [], {}, [[]], [[1, 2]], [[1, 2, 3]], [["a"] * 6], [[1, 2, float("nan"), 4, 5, 6]], [1, "x"], "x", 7, [[[1]]]]
    + [{"size": [4, 4], "counts": counts} for counts in ([3], [-1, 17], "\x00", "zzzz", [1.5, 14.5], None, [10**30])],
)
def test_a_mask_that_cannot_be_read_has_no_box(mask):
    assert mask_box(mask) is None


def test_masks_without_boxes_are_read(write):
    """(2, 3) to (12, 8) around two polygons; the second annotation keeps its own box."""
    coco = tiny_coco()
    del coco["annotations"][0]["bbox"]
    coco["annotations"][0]["segmentation"] = [[2, 3, 12, 3, 12, 5], [4, 4, 5, 8, 4, 6]]
    coco["annotations"][1]["segmentation"] = [[0, 0, 5, 0, 5, 5]]
    records = load_coco(write(coco))
    assert records.xywh[records.annotation_ids == 1].tolist() == [[2, 3, 10, 5]]
    assert records.xywh[records.annotation_ids == 2].tolist() == [[0, 0, 30.5, 40]]


def test_text_ids_are_numbered_and_written_back(write):
    coco = tiny_coco()
    names = {5: "frame-b", 3: "frame-a"}
    for image in coco["images"]:
        image["id"] = names[image["id"]]
    for annotation in coco["annotations"]:
        annotation.update(image_id=names[annotation["image_id"]], category_id=f"c{annotation['category_id']}")
    for category in coco["categories"]:
        category["id"] = f"c{category['id']}"
    path = write(coco)
    records, plain = load_coco(path), load_coco(write(tiny_coco(), "plain.json"))
    assert records.image_ids.tolist() == [1, 2] and records.image_keys == ("frame-b", "frame-a")
    assert records.class_names == ("dog", "cat")  # in the order of the file
    assert sorted(map(tuple, records.xywh.tolist())) == sorted(map(tuple, plain.xywh.tolist()))
    rows = [{**{key: a[key] for key in ("image_id", "category_id", "bbox")}, "score": 1} for a in coco["annotations"]]
    for truth in (path, records, coco):
        assert evaluate_coco(truth, rows).metrics["AP"] == 1
    found = Detections.from_coco(rows, records.category_ids, records.class_names, records.keys)
    assert found.to_coco(records.category_ids) == rows
    assert records.subset([1]).to_coco()["images"][0]["id"] == "frame-a"
    with pytest.raises(ValueError, match=r"\[0\].image_id is 'frame-z'; ids must .* the ground truth has frame-b"):
        evaluate_coco(path, [{**rows[0], "image_id": "frame-z"}])


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        ([5, 3], [5, 3]),
        (["5", "3"], [5, 3]),
        ([5.0, 3], [5, 3]),
        (["05", "5"], [1, 2]),  # two ids, which as numbers would be one
        (["a", 3], [1, 2]),
        (["a", "a"], [1, 1]),  # one id twice: an error
        ([None, 3], [None, 3]),
        ([True, "x"], [True, 1]),
        ([2**63, "x"], [2**63, 1]),
    ],
)
def test_how_ids_are_read(ids, read):
    content = {"images": [{"id": i} for i in ids], "annotations": [{"image_id": ids[1]}], "categories": []}
    plain = understand(content)
    assert [image["id"] for image in plain["images"]] == read
    assert plain["annotations"][0]["image_id"] == read[1]


def test_whole():
    assert [whole(v) for v in (3, 3.0, "3", " -3 ", 3.5, True, None, "x", "3.0", 2**63, float("nan"), [])] == [
        *(3, 3, 3, -3, None, None, None, None, None, None, None, None)
    ]


NAMES = {
    "windows": "C:\\work\\pictures\\{}",
    "foreign folder": "/home/other/data/{}",
    "relative": "../../media/upload/4/{}",
    "url": "https://example.org/bucket/{}?w=5#x",
    "label studio": "/data/local-files/?d=set/{}",
    "label studio upload": "upload/1/0a1b2c3d-{}",
}


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("below", ["", "deep/er"])
def test_pictures_are_found_by_the_last_part_of_their_name(kind, below, coco, write, pictures, tmp_path, capsys):
    for split in ("train", "val"):
        pictures(coco, f"images/{split}/{below}", seed=len(split))
        content = json.loads(json.dumps(coco))
        for image in content["images"]:
            image["file_name"] = NAMES[kind].format(image["file_name"])
        write(content, f"annotations/instances_{split}.json")
    records = coco_folder(str(tmp_path), "val")
    assert records.images[0].shape == (3, 48, 64) and records.images[1].shape == (3, 50, 40)
    assert main([str(tmp_path)]) == 0
    assert "picture_elsewhere" in capsys.readouterr().out
    fixed = tmp_path / "fixed.json"
    main(
        [
            str(tmp_path / "annotations/instances_val.json"),
            "--images",
            str(tmp_path / "images/val"),
            "--fix",
            str(fixed),
        ]
    )
    below = f"{below}/" if below else ""
    assert [i["file_name"] for i in json.loads(fixed.read_text())["images"]] == [f"{below}a.png", f"{below}b.png"]


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_in_another_unicode_form(written, stored, coco, write, tmp_path):
    name = "äöü é.png"
    (tmp_path / "images").mkdir()
    noise(64, 48).save(tmp_path / "images" / unicodedata.normalize(stored, name))
    coco["images"] = [{**coco["images"][0], "file_name": unicodedata.normalize(written, name)}]
    coco["annotations"] = [coco["annotations"][1]]
    assert load_coco(write(coco), str(tmp_path / "images")).images[0].shape == (3, 48, 64)


def test_a_name_that_is_not_unique_is_not_guessed(coco, write, tmp_path, capsys):
    for folder in ("one", "two"):
        (tmp_path / "images" / folder).mkdir(parents=True)
        noise(64, 48).save(tmp_path / "images" / folder / "a.png")
    noise(40, 50).save(tmp_path / "images" / "b.png")
    coco["images"][0]["file_name"] = "elsewhere/a.png"
    path = write(coco)
    with pytest.raises(FileNotFoundError, match=r"elsewhere/a.png.*2 files have this name: one/a.png, two/a.png"):
        load_coco(path, str(tmp_path / "images")).images[0]
    assert main([path, "--images", str(tmp_path / "images")]) == 1
    out = capsys.readouterr().out
    assert "picture_missing" in out and "2 files have this name: one/a.png, two/a.png" in out


def test_two_names_with_one_last_part_do_not_share_a_file(coco, write, tmp_path):
    (tmp_path / "images").mkdir()
    noise(64, 48).save(tmp_path / "images" / "a.png")
    coco["images"][0]["file_name"], coco["images"][1]["file_name"] = "x/a.png", "y/a.png"
    with pytest.raises(FileNotFoundError, match="2 images of the file have names that end in 'a.png'"):
        load_coco(write(coco), str(tmp_path / "images")).images[0]


@pytest.mark.parametrize("name", ["custom_train.json", "Train_v2.json", "my-train2017.json", "coco.training.json"])
def test_a_file_with_the_split_in_its_name_is_found(name, coco, write, pictures, tmp_path):
    pictures(coco, "train2017")
    path = write(coco, f"annotations/{name}")
    write({"images": [], "annotations": []}, "annotations/captions_train.json")
    write(coco, "annotations/strained.json")  # the split's name as a part of another word
    records = coco_folder(str(tmp_path), "train")
    assert records.source == path and records.images[0].shape == (3, 48, 64)
    assert detect_format(str(tmp_path)) == "coco"


def test_several_files_with_the_split_in_their_names_are_all_shown(coco, write, pictures, tmp_path, capsys):
    pictures(coco, "train")
    write(coco, "annotations/custom_train.json")
    write(coco, "annotations/old-train.json")
    with pytest.raises(ValueError, match="annotations/custom_train.json, annotations/old-train.json. Rename the right"):
        coco_folder(str(tmp_path), "train")
    assert main([str(tmp_path)]) == 2
    assert "custom_train.json, annotations/old-train.json" in capsys.readouterr().err
    write(coco, "annotations/instances_train.json")
    assert coco_folder(str(tmp_path), "train").source.endswith("instances_train.json")


@pytest.fixture
def case(tmp_path):
    """case(name) -> a copy of one of the inputs that once went wrong."""

    def copy(name):
        if not (CASES / name).is_dir():
            pytest.skip(f"no inputs to try: {CASES.parent.name}/cases/{name} does not exist")
        return Path(shutil.copytree(CASES / name, tmp_path / name))

    return copy


def takes(root):
    train, val = folder_records(str(root), "train"), folder_records(str(root), "val")
    check_before_training(train, val)
    return [records.images[i].shape for records in (train, val) for i in range(len(records))]


def test_case_of_label_studio(case):
    root = case("10-labelstudio-file-name") / "data"
    assert main([str(root)]) == 0 and takes(root) == [(3, 64, 96)] * 12


@pytest.mark.parametrize(("name", "boxes"), [("11-polygons-without-bbox", 12), ("11b-some-polygons-without-bbox", 6)])
def test_case_of_polygons(name, boxes, case, tmp_path, capsys):
    root = case(name) / "data"
    file, out = root / "annotations" / "instances_train.json", tmp_path / "out.json"
    assert main([str(file), "--fix", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"annotations: 12 of 12 kept, of these {boxes} changed; 0 dropped" in said
    fixed = json.loads(out.read_text())["annotations"]
    for before, after in zip(json.loads(file.read_text())["annotations"], fixed, strict=True):
        if "bbox" in before:
            assert after["bbox"] == before["bbox"]
            continue
        x, y = before["segmentation"][0][0::2], before["segmentation"][0][1::2]
        assert after["bbox"] == [min(x), min(y), max(x) - min(x), max(y) - min(y)]
    assert takes(root) and folder_records(str(root), "train").xywh.tolist() == [a["bbox"] for a in fixed]


def test_case_of_text_ids(case, tmp_path, capsys):
    root = case("13-string-image-ids") / "data"
    assert main([str(root / "annotations" / "instances_train.json"), "--fix", str(tmp_path / "out.json")]) == 0
    assert "no box" not in capsys.readouterr().out
    assert takes(root) and folder_records(str(root), "train").class_counts().sum() == 12


def test_case_of_crowd(case, capsys):
    assert main([str(case("50-cvat-masks-all-iscrowd-1") / "data")]) == 1
    said = capsys.readouterr().out
    assert said.count("all 12 annotations have iscrowd 1") == 2 and "no box at all" not in said
    assert "without objects" not in said and "2 errors, 0 warnings, 0 info" in said


@pytest.mark.parametrize("name", ["check_data-0", "check_data-2", "fix-1", "fix-3", "load-0"])
def test_case_of_a_mutated_file(name, case, tmp_path, capsys):
    path = str(case(f"fuzz/{name}") / "train.json")
    assert main([path]) == 1
    for options in ([], ["--drop"]):
        assert main([path, "--fix", str(tmp_path / "out.json"), *options]) in (0, 1)
    with pytest.raises(ValueError, match="train.json"):
        check_before_training(load_coco(path))


def test_case_of_mutated_results(case, write):
    with pytest.raises(ValueError, match=r"res.json\[0\].category_id is 1e\+308; ids must be whole numbers of 64 bits"):
        evaluate_coco(write(tiny_coco()), str(case("fuzz/results-0") / "res.json"))
