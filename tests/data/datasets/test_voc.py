"""Pascal VOC folders: pixels that count from 1, lists of splits, difficult objects, and wrong XML."""

import pytest

from imbdet.data.datasets.folder import detect_format, folder_records
from imbdet.data.datasets.voc import voc_folder

from ..conftest import noise


def xml(objects, width=40, height=30, filename="x.jpg"):
    items = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, x1, y1, x2, y2, difficult in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{filename}</filename>{size}{items}</annotation>"


@pytest.fixture
def voc(tmp_path, write):
    write(xml([("dog", 1, 1, 40, 30, 0), ("cat", 5, 6, 5, 6, 1)]), "Annotations/000001.xml")
    write(xml([]), "Annotations/000002.xml")
    write(xml([("bird", 2, 3, 11, 13, 0)]), "Annotations/000003.xml")
    write("000001\n000002\n", "ImageSets/Main/train.txt")
    write("000003\n", "ImageSets/Main/val.txt")
    (tmp_path / "JPEGImages").mkdir()
    for i in (1, 2, 3):
        noise(40, 30, i).save(tmp_path / "JPEGImages" / f"00000{i}.jpg")
    return tmp_path


def test_pixels_count_from_1_and_ends_belong_to_the_box(voc):
    records = voc_folder(str(voc), "train")
    assert records.xywh.tolist() == [[0, 0, 40, 30], [4, 5, 1, 1]]  # the whole picture; one pixel
    assert voc_folder(str(voc), "train", one_based=False).xywh.tolist()[0] == [1, 1, 39, 29]


def test_splits_share_their_classes(voc):
    train, val = voc_folder(str(voc), "train"), voc_folder(str(voc), "val")
    assert train.class_names == val.class_names == ("bird", "cat", "dog")
    assert len(train) == 2 and train.num_empty == 1 and val.labels.tolist() == [0]
    assert val.xywh.tolist() == [[1, 2, 10, 11]] and train.images[0].shape == (3, 30, 40)
    assert len(voc_folder(str(voc), "all")) == 3


def test_difficult_is_crowd_unless_kept(voc):
    assert voc_folder(str(voc), "train").crowd.tolist() == [False, True]
    assert not voc_folder(str(voc), "train", difficult="keep").crowd.any()
    with pytest.raises(ValueError, match="'ignore' or 'keep'"):
        voc_folder(str(voc), "train", difficult="yes")


def test_is_found_by_itself_also_inside_vocdevkit(voc, tmp_path):
    assert detect_format(str(voc)) == "voc" and len(folder_records(str(voc), "train")) == 2
    outer = tmp_path / "outer" / "VOCdevkit"
    outer.mkdir(parents=True)
    (outer / "VOC2007").symlink_to(voc)
    assert len(folder_records(str(outer.parent), "train", format="voc")) == 2


def test_is_cached_until_a_file_changes(voc, write):
    first = voc_folder(str(voc), "val")
    assert voc_folder(str(voc), "val") is first
    write(xml([("bird", 2, 3, 12, 13, 0), ("bird", 2, 3, 13, 13, 0)]), "Annotations/000003.xml")
    assert voc_folder(str(voc), "val").num_objects == 2


def test_xml_beside_the_pictures(tmp_path, write):
    write(xml([("dog", 1, 1, 4, 3, 0)], 0, 0, "a.png"), "train/a.xml")  # no size: the picture's own is taken
    write(xml([("cat", 1, 1, 4, 3, 0)]), "valid/b.xml")
    noise(17, 9).save(tmp_path / "train" / "a.png")
    records = folder_records(str(tmp_path), "train")
    assert records.class_names == ("cat", "dog") and (records.widths[0], records.heights[0]) == (17, 9)


def test_every_wrong_file_is_named(voc, write):
    write("<annotation><object>", "Annotations/000001.xml")
    write(xml([("dog", 1, 1, "x", 3, 0)]), "Annotations/000002.xml")
    with pytest.raises(ValueError, match=r"(?s)2 labels cannot.*000001.xml: .*000002.xml: object 1: right is <name>"):
        voc_folder(str(voc), "train")
    with pytest.raises(FileNotFoundError, match="no Pascal VOC split 'test'.*ImageSets/Main"):
        voc_folder(str(voc), "test")


def test_listed_file_that_is_missing(voc, write):
    write("000001\n000009\n", "ImageSets/Main/train.txt")
    with pytest.raises(ValueError, match="000009.xml: No such file"):
        voc_folder(str(voc), "train")
