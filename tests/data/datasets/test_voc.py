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
    with pytest.raises(
        ValueError, match=r"(?s)2 labels cannot.*000001.xml: .*000002.xml: object 1: <xmax> is 'x'; expected <name>"
    ):
        voc_folder(str(voc), "train")
    with pytest.raises(FileNotFoundError, match="no Pascal VOC split 'test'.*ImageSets/Main"):
        voc_folder(str(voc), "test")


def test_listed_file_that_is_missing(voc, write):
    write("000001\n000009\n", "ImageSets/Main/train.txt")
    with pytest.raises(ValueError, match="000009.xml: No such file"):
        voc_folder(str(voc), "train")


@pytest.mark.parametrize(("text", "count"), [("a b (0)\nкот 3\nphoto 1\n", 3), ("\ufeffкот 3\r\nphoto 1.jpg\r\n", 2)])
def test_names_with_spaces_and_numbers(voc, write, text, count):
    """Names that end in a number are names as long as their XML files are there."""
    for name in ("a b (0)", "кот 3", "photo 1"):
        write(xml([("dog", 1, 1, 4, 3, 0)]), f"Annotations/{name}.xml")
        noise(40, 30).save(voc / "JPEGImages" / f"{name}.jpg")
    write(text.encode(), "ImageSets/Main/val.txt")
    records = voc_folder(str(voc), "val")
    assert len(records) == records.num_objects == count and records.images.name(count - 1) == "photo 1.jpg"


def test_flags_of_a_class_list_are_no_part_of_the_names(voc, write):
    write("000001 -1\n000003  1\n", "ImageSets/Main/cat_train.txt")
    assert voc_folder(str(voc), "cat_train").image_ids.tolist() == [1, 2]
    write(xml([]), "Annotations/000001 -1.xml")
    write(xml([]), "Annotations/000003  1.xml")
    with pytest.raises(ValueError, match="is the picture '000001 -1', or '000001' with a flag"):
        voc_folder(str(voc), "cat_train")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<name>a</name><name>b</name><bndbox/>", "object 1: 2 <name>"),
        ("<bndbox/>", "object 1: no <name>"),
        ("<name> </name>", "object 1: <name> is empty"),
        ("<name>a</name>", "object 1: no <bndbox>"),
        ("<name>a</name><bndbox><xmin>1</xmin><xmin>2</xmin></bndbox>", "object 1: 2 <xmin>"),
        ("<name>a</name><bndbox><xmin>1,5</xmin></bndbox>", "object 1: <xmin> is '1,5'"),
    ],
)
def test_fields_that_are_missing_or_there_twice(voc, write, body, message):
    text = f"<annotation><size><width>40</width><height>30</height></size><object>{body}</object></annotation>"
    write(text, "Annotations/000003.xml")
    with pytest.raises(ValueError, match=f"000003.xml: {message}"):
        voc_folder(str(voc), "val")


def test_marks_encodings_and_fractions(voc, write):
    """A byte order mark before the XML, one of UTF-16, and coordinates with a fraction; a part's box is not its own."""
    part = "<part><name>head</name><bndbox><xmin>0</xmin></bndbox></part>"
    text = xml([("dog", 2.5, 3.5, 11.25, 13, 0)]).replace("</object>", f"{part}</object>")
    for encoding in ("utf-8-sig", "utf-16"):
        head = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>'
        write((head + text).encode(encoding), "Annotations/000003.xml")
        assert voc_folder(str(voc), "val").xywh.tolist() == [[1.5, 2.5, 9.75, 10.5]]


def test_xml_that_is_a_folder_or_infinite(voc, write):
    write(xml([], "inf", "1e999"), "Annotations/000003.xml")
    assert voc_folder(str(voc), "val").widths.tolist() == [40]  # of the picture
    (voc / "Annotations" / "000003.xml").unlink()
    (voc / "Annotations" / "000003.xml").mkdir()
    with pytest.raises(ValueError, match="000003.xml: is not a regular file"):
        voc_folder(str(voc), "val")
