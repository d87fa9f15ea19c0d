"""YOLO folders: fractions to pixels, every layout, polygons, and wrong lines."""

import numpy as np
import pytest

from imbdet.data.datasets.folder import detect_format, folder_records
from imbdet.data.datasets.yolo import yolo_folder

from ..conftest import put

NAMES = "names: [cat, dog]\n"


@pytest.mark.parametrize(
    ("folder", "labels", "yaml"),
    [
        ("images/train", "labels/train", NAMES + "train: images/train\n"),
        ("train/images", "train/labels", NAMES + "train: ../train/images\n"),  # as Roboflow writes it
        ("train/images", "train/labels", "names: {1: dog, 0: cat}\n"),
        ("images/train", "labels/train", "path: /elsewhere\nnames: {0: cat, 1: dog}\ntrain: images/train\n"),
        ("images/train", "labels/train", NAMES + "train: [images/train]\n"),
        ("images/train", "labels/train", NAMES + "train: list.txt\n"),
    ],
)
def test_layouts(tmp_path, write, folder, labels, yaml):
    put(tmp_path, f"{folder}/a.png", f"{labels}/a.txt", "1 0.5 0.5 0.5 1\n\n0 .25 .25 .1 .2\n")
    put(tmp_path, f"{folder}/b.png", "", None)
    write(yaml, "data.yaml")
    write(f"./{folder}/a.png\n./{folder}/b.png\n", "list.txt")
    assert detect_format(str(tmp_path)) == "yolo"
    records = folder_records(str(tmp_path), "train")
    assert records.class_names == ("cat", "dog") and records.labels.tolist() == [1, 0]
    np.testing.assert_allclose(records.xywh, [[10, 0, 20, 20], [8, 3, 4, 4]])
    assert len(records) == 2 and records.num_empty == 1 and records.images[1].shape == (3, 20, 40)


def test_polygons_become_boxes(tmp_path, write):
    put(tmp_path, "images/train/a.png", "labels/train/a.txt", "0 0.25 0.5 0.75 0.5 0.5 1.0\n")
    write(NAMES, "data.yaml")
    assert yolo_folder(str(tmp_path)).xywh.tolist() == [[10, 10, 20, 10]]


def test_names_from_classes_txt_or_an_error(tmp_path, write):
    put(tmp_path, "images/train/a.png", "labels/train/a.txt", "0 .5 .5 .5 .5\n")
    with pytest.raises(FileNotFoundError, match="names of the classes are in none of data.yaml"):
        yolo_folder(str(tmp_path))
    write("cat\ndog\n", "classes.txt")
    assert yolo_folder(str(tmp_path)).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 .5 .5 .5 .5", r"class 2; expected a whole number in 0..1"),
        ("0 .5 .5 .5", r"4 numbers; expected five"),
        ("cat .5 .5 .5 .5", r"expected numbers"),
        ("0 20 10 5 5", r"fractions of the picture"),
    ],
)
def test_wrong_lines_name_file_and_line(tmp_path, write, line, message):
    put(tmp_path, "images/train/a.png", "labels/train/a.txt", f"0 .5 .5 .5 .5\n{line}\n")
    write(NAMES, "data.yaml")
    with pytest.raises(ValueError, match=rf"labels/train/a.txt, line 2: .*{message}"):
        yolo_folder(str(tmp_path))


def test_missing_split_and_broken_yaml(tmp_path, write):
    put(tmp_path, "images/train/a.png", "labels/train/a.txt", "")
    write(NAMES, "data.yaml")
    with pytest.raises(FileNotFoundError, match="no pictures of YOLO split 'test'.*images/test"):
        yolo_folder(str(tmp_path), "test")
    write("names: [", "data.yaml")
    with pytest.raises(ValueError, match="data.yaml is not YAML that can be read"):
        yolo_folder(str(tmp_path), "train")


def test_unreadable_picture_is_named(tmp_path, write):
    put(tmp_path, "images/train/a.png", "labels/train/a.txt", "0 .5 .5 .5 .5\n")
    write(b"nothing", "images/train/b.png")
    write(NAMES, "data.yaml")
    with pytest.raises(ValueError, match="b.png: not readable as a picture"):
        yolo_folder(str(tmp_path))
