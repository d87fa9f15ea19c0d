"""What is written: read by our readers, by check_data and by pycocotools, the same bytes twice, the input untouched."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imbdet
from imbdet.commands import run
from imbdet.data.datasets.folder import folder_records


@pytest.fixture
def data(tmp_path):
    """COCO, 8 train and 3 val pictures of noise; ids of both splits begin at 1, and one name is in both."""
    root, rng = tmp_path / "in", np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train", 8), ("val", 3)):
        (root / "images" / split).mkdir(parents=True)
        images, annotations = [], []
        for i in range(count):
            name = "same.png" if i == 0 else f"{split}{i}.png"
            pixels = rng.integers(0, 255, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(root / "images" / split / name)
            images.append({"id": i + 1, "file_name": name, "width": 50, "height": 40, "license": 1, "camera": i % 2})
            for k in [0, 0, 1] if i < 2 else [0]:
                box = [1.25 * (k + 1), 2.5, 10.0 + i, 8.0]
                mask = [[1.0, 1.0, 9.0, 1.0, 9.0, 9.0]]
                new = {"id": len(annotations) + 1, "image_id": i + 1, "category_id": k + 3, "bbox": box, "iscrowd": 0}
                annotations.append({**new, "area": box[2] * box[3], "segmentation": mask})
        content = {
            "info": {"description": "noise", "date_created": "2020-01-02"},
            "licenses": [{"id": 1, "name": "CC0"}],
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 3, "name": "a", "supercategory": "letter"}, {"id": 4, "name": "b"}],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def files(root):
    """{relative name: content or target}."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(root))] = hashlib.sha256(content).hexdigest()
    return found


def balance(*words):
    return run("balance", list(map(str, words)))


def test_coco(data, tmp_path, capsys):
    from pycocotools.coco import COCO

    before, out = files(data), tmp_path / "out"
    assert balance(data, out, "--target", "ratio:3", "--keep-all", "--copies", "4") == 0
    assert "train: reached a ratio of" in capsys.readouterr().out
    assert files(data) == before and not list(tmp_path.glob(".*"))
    content = json.loads((out / "annotations/instances_train.json").read_text())
    assert content["info"]["date_created"] == "2020-01-02" and content["licenses"] == [{"id": 1, "name": "CC0"}]
    assert content["info"]["imbdet"]["command"].startswith("imbdet balance in OUT --target ratio:3")
    assert content["categories"][0] == {"id": 3, "name": "a", "supercategory": "letter"}
    images = content["images"]
    assert len({i["id"] for i in images}) == len(images) == len({i["file_name"] for i in images}) > 8
    repeated = [i for i in images if "-repeat" in i["file_name"]]
    assert repeated and all(i["id"] > 8 and i["license"] == 1 for i in repeated)
    assert all("segmentation" in a and 1 <= a["source_annotation_id"] <= 12 for a in content["annotations"])
    source = json.loads((data / "annotations/instances_train.json").read_text())
    names = {i["id"]: i["file_name"] for i in source["images"]}
    for image in images:
        stem = names[image["source_image_id"]].removesuffix(".png")
        assert image["file_name"].startswith(stem) and image["source_split"] == "train"
        link = out / "images/train" / image["file_name"]
        assert link.is_symlink() and link.resolve() == (data / "images/train" / names[image["source_image_id"]])
    coco = COCO(str(out / "annotations/instances_train.json"))
    assert len(coco.getAnnIds()) == len(content["annotations"]) and coco.getCatIds() == [3, 4]
    assert run("check_data", [str(out)]) == 0
    report = json.loads((out / "balance.json").read_text())
    assert report["after"]["train"]["ratio"] <= 3.2 and report["before"]["train"]["ratio"] == 5
    assert report["after"]["val"] == report["before"]["val"]


def test_same_command_same_bytes_and_overwrite(data, tmp_path):
    words = ("--repeat-factor", "0.9", "--label-noise", "0.2", "--seed", "3")
    assert balance(data, tmp_path / "a", *words) == balance(data, tmp_path / "b", *words) == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert balance(data, tmp_path / "a", *words) == 2
    assert balance(data, tmp_path / "a", "--overwrite", *words) == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")
    noisy = json.loads((tmp_path / "a/annotations/instances_train.json").read_text())["annotations"]
    names = {3: "a", 4: "b"}
    changed = [a for a in noisy if "source_category" in a]
    assert changed and all(names[a["category_id"]] != a["source_category"] for a in changed)


@pytest.mark.parametrize("format", ["yolo", "voc"])
def test_other_formats_are_read_again_the_same(data, tmp_path, format):
    out = tmp_path / "out"
    words = ("--target", "ratio:3", "--keep-all", "--format", format, "--pictures", "copy")
    assert balance(data, out, *words) == 0
    splits, _ = imbdet.balance(str(data), target="ratio:3", keep_all=True)
    for split, expected in splits.items():
        found = folder_records(str(out), split, format)
        order = np.lexsort((found.xywh[:, 2], found.xywh[:, 0], found.labels))
        wanted = np.lexsort((expected.xywh[:, 2], expected.xywh[:, 0], expected.labels))
        assert found.class_names == expected.class_names and len(found) == len(expected)
        assert (found.labels[order] == expected.labels[wanted]).all()
        assert np.allclose(found.xywh[order], expected.xywh[wanted], atol=1e-9)
    assert run("check_data", [str(out)]) == 0 and not any(p.is_symlink() for p in out.rglob("*"))
    assert balance(out, tmp_path / "again", "--drop-class", "a") == 0  # in the format that came in
    assert (tmp_path / "again" / ("data.yaml" if format == "yolo" else "Annotations")).exists()


def test_folds_in_place_and_pooled_ids(data, tmp_path):
    out = tmp_path / "out"
    assert balance(data, out, "--folds", "2", "--pictures", "in-place", "--group", "field:camera", "--at-least", 1) == 0
    for fold in ("fold1", "fold2"):
        assert run("check_data", [str(out / fold)]) == 0
        content = json.loads((out / fold / "annotations/instances_train.json").read_text())
        assert len({image["camera"] for image in content["images"]}) == 1
    assert balance(data, tmp_path / "all", "--split", "train=0.7,val=0.3") == 0
    found = []
    for part in ("train", "val"):
        content = json.loads((tmp_path / "all/annotations" / f"instances_{part}.json").read_text())
        ids = [image["id"] for image in content["images"]]
        assert len(set(ids)) == len(ids)
        found += [(image["source_split"], image["source_image_id"]) for image in content["images"]]
    assert sorted(found) == [("train", i) for i in range(1, 9)] + [("val", i) for i in range(1, 4)]


def test_nothing_is_written_where_it_should_not_be(data, tmp_path, capsys):
    def refused(words, *command):
        assert balance(*command) == 2
        error = capsys.readouterr().err
        assert words in error and len(error.splitlines()) == 1, error
        assert not list(tmp_path.glob(".*"))

    before = files(data)
    refused("inside of the input", data, data / "out", "--cap", 3)
    refused("holds the input", data, tmp_path, "--cap", 3, "--overwrite")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").touch()
    refused("did not write it", data, tmp_path / "x", "--overwrite")
    refused("is not empty", data, tmp_path / "x")
    refused("no such file", tmp_path / "nowhere", tmp_path / "y")
    refused("did you mean 'b'", data, tmp_path / "y", "--drop-class", "bb")
    repeats = ("--pictures", "in-place", "--target", "ratio:3", "--keep-all")
    refused("come more than once", data, tmp_path / "y", *repeats)
    refused("ties labels", data, tmp_path / "y", "--format", "voc", "--pictures", "in-place")
    (data / "images/train/train3.png").unlink()
    refused("train3.png", data, tmp_path / "y", "--cap", 100)
    assert balance(data, tmp_path / "y", "--cap", 100, "--dry-run", "--json", tmp_path / "d.json") == 0
    assert not (tmp_path / "y").exists() and json.loads((tmp_path / "d.json").read_text())["after"]
    before.pop("images/train/train3.png")
    assert files(data) == before


def test_an_interrupted_write_leaves_nothing(data, tmp_path, monkeypatch):
    from imbdet.balance import export

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setitem(export.WRITERS, "coco", stop)
    assert balance(data, tmp_path / "out") == 130
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
