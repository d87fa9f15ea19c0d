"""Small inputs that reproduce public complaints, each as its own page says it must be; read from ../shared/cases.

Skipped where that folder is not beside the checkout; the kinds that they stand for are tested without it, too.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from imbdet.commands import check_data
from imbdet.data.datasets.folder import folder_records
from imbdet.data.images import decode
from imbdet.data.statistics import frequency_groups
from imbdet.remedies.class_fg_fg.class_weights import ClassWeights, InversePower

CASES = Path(os.path.abspath(__file__)).parents[3] / "shared" / "cases"


@pytest.fixture
def case(tmp_path):
    """case(name) copies its data and returns the folder; every copy passes the check without an error."""

    def copied(name):
        if not (CASES / name).is_dir():
            pytest.skip(f"{CASES / name} is not here")
        shutil.copytree(CASES / name / "data", tmp_path / "data", copy_function=shutil.copy)
        assert check_data.main([str(tmp_path / "data")]) == 0
        return str(tmp_path / "data")

    return copied


def splits(root):
    return [folder_records(root, split) for split in ("train", "val")]


def test_names_with_spaces(case):
    train, val = splits(case("01-voc-spaces"))
    assert len(train) + len(val) == 8 and train.num_objects + val.num_objects == 16
    assert (np.diff(train.offsets) == 2).all() and (np.diff(val.offsets) == 2).all()
    assert "train photo (0).jpg" in [train.images.name(i) for i in range(4)]
    assert train.images[3].shape[0] == 3


def test_names_from_1(case):
    root = case("02-yolo-names-from-1")
    for split, records in zip(("train", "val"), splits(root), strict=True):
        files = sorted(Path(root, "labels", split).iterdir())
        numbers = [int(line.split()[0]) for file in files for line in file.read_text().splitlines()]
        said = {1: "apple", 2: "pear", 3: "plum"}
        assert [records.class_names[k] for k in records.labels] == [said[number] for number in numbers]


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("04-cvat-yolo-1.1", ("cat", "dog")),
        ("06-yolo-pose", ("cat", "dog")),
        ("07-yolo-bom", ("cat", "dog")),
        ("54-yaml-yes-no-class-names", ("yes", "no")),
    ],
)
def test_yolo_boxes_are_the_first_four_numbers(case, name, names):
    root = case(name)
    for split, other, records in zip(("train", "val"), ("train", "valid"), splits(root), strict=True):
        folder = Path(root, "labels", split) if Path(root, "labels").is_dir() else Path(root, f"obj_{other}_data")
        lines = [line.split() for f in sorted(folder.glob("*.txt")) for line in f.read_text("utf-8-sig").splitlines()]
        assert records.class_names == names and records.labels.tolist() == [int(line[0]) for line in lines]
        size = np.stack([records.widths, records.heights] * 2, axis=1)[records.object_image]
        boxes = np.array([line[1:5] for line in lines], dtype=float)
        boxes[:, :2] -= boxes[:, 2:] / 2
        np.testing.assert_allclose(records.xywh, boxes * size, atol=1e-9)


def test_a_grouping_category_is_in_no_group_and_no_mean(case, capsys):
    train, val = splits(case("20-roboflow-class-0"))
    assert capsys.readouterr().out.count("'animals'") == 1
    groups = frequency_groups(train)
    grouping = train.class_names.index("animals")
    assert groups.of(grouping) is None and groups.labels["rare"]
    for over_boxes in (True, False):
        counts = train.class_counts()
        table = ClassWeights(counts.tolist(), train.class_names, InversePower(1), over_boxes).table.numpy()[:-1]
        used = counts > 0
        share = counts[used] / counts.sum() if over_boxes else np.full(used.sum(), 1 / used.sum())
        assert (table[used] * share).sum() == pytest.approx(1)


def test_16_bit_pictures_are_not_black(case):
    train, _ = splits(case("49-16-bit-pictures"))
    for i in range(len(train)):
        picture = train.images[i]
        assert picture.max() - picture.min() > 40 and picture.float().mean() > 40  # 12 bits: 1456 >> 4 is 91
    pictures = CASES / "49-16-bit-pictures" / "pictures"
    for name in ("grey16", "grey12of16", "grey8of16"):
        png, tif = (decode(str(pictures / f"{name}.{suffix}")) for suffix in ("png", "tif"))
        assert png.equal(tif) and png.max() == 255
    assert decode(str(pictures / "float01.tif")).max() == 255
