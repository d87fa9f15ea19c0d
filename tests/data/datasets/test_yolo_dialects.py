"""YOLO's dialects: how classes are numbered and named, kinds of labels, splits that were moved, Darknet's layout."""

import numpy as np
import pytest

from imbdet.data.datasets.folder import detect_format, folder_records
from imbdet.data.datasets.yolo import read_yolo, yolo_folder
from imbdet.data.datasets.yolo_labels import LineReader

from ..conftest import put


def folder(tmp_path, write, yaml, *lines):
    """One picture of 40 x 20 with these lines, and data.yaml."""
    put(tmp_path, "images/train/a.png", "labels/train/a.txt", "\n".join(lines))
    write(yaml, "data.yaml")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("names", "label", "wanted"),
    [
        ("{1: apple, 2: pear, 3: plum}", 1, "apple"),
        ("{1: apple, 2: pear, 3: plum}", 3, "plum"),
        ("{0: apple, 7: pear}", 7, "pear"),
        ("{7: pear, 0: apple}", 0, "apple"),
        ("[yes, no, 054, 0x1F, .inf]", 2, "054"),
        ("[yes, no, on]", 0, "yes"),
        ("[a, 1e3, null, 7, 2020-01-01, 12:30]", 1, "1e3"),
        ("[a, 1e3, null, 7, 2020-01-01, 12:30]", 2, "null"),
        ("[a, 1e3, null, 7, 2020-01-01, 12:30]", 4, "2020-01-01"),
        ("{0: yes, 1: 'no'}", 1, "no"),
        ('{"0": cat, "1": dog}', 1, "dog"),
    ],
)
def test_the_number_is_the_label_and_names_are_text(tmp_path, write, names, label, wanted):
    records = yolo_folder(folder(tmp_path, write, f"names: {names}\n", f"{label} .5 .5 .5 .5"))
    assert [records.class_names[k] for k in records.labels] == [wanted]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: {1: apple, 2: pear}", r"class 0 is not among the numbers of `names` \(1 is 'apple'.*from 0 instead"),
        ("names: [a, b]\nnc: 3", "it says '3' classes, and has 2 names"),
        ("names: [a, b]\nnc: two", "it says 'two' classes"),
        ("names: {a: 0, b: 1}", "the key 'a' is not a number"),
        ("names: {-1: a}", "the key '-1' is not a number"),
        ("names: {0: a, 00: b}", "the key '00' is not a number of its own"),
        ("names: {0: a, 1: a}", "0 and 1 are both called 'a'"),
        ("names: [a, [b]]", r"1 is \['b'\]"),
        ("names: cat", "names: 'cat'; expected a list"),
        ("names: []", "lacks `names`"),
        ("names: [a, '']", "class 1 has no name"),
        ("names:", "lacks `names`"),
        ("names: [a]\nnames: [b]", "key 'names' twice"),
        ("names: [a]\n[x]: 1", "data.yaml is not YAML"),
        ("- a", "expected a mapping"),
        ("names: [a]\nkpt_shape: 17", "kpt_shape: '17'; expected"),
        ("names: [a]\nkpt_shape: [17, 4]", "kpt_shape: .*; expected"),
        ("names: [a]\ntrain: {a: b}", "train: {'a': 'b'}; expected a folder"),
        ("names: [a]\ntrain: [images/train, [x]]", "expected a folder"),
        ("names: [a]\ntrain: [images/train, images/more]", "train: no pictures in 'images/more'"),
    ],
)
def test_what_data_yaml_must_not_say(tmp_path, write, yaml, message):
    with pytest.raises(ValueError, match=message):
        yolo_folder(folder(tmp_path, write, yaml, "0 .5 .5 .5 .5"))


@pytest.mark.parametrize("entry", ["", "null", "~", "[]", "images/train"])
def test_split_entries_that_are_not_there_leave_the_usual_folders(tmp_path, write, entry):
    assert len(yolo_folder(folder(tmp_path, write, f"names: [a]\ntrain: {entry}", "0 .5 .5 .5 .5"))) == 1


@pytest.mark.parametrize("entry", ["7", "images/typo", "list.txt", "[images/typo]"])
def test_a_split_that_is_named_and_not_there_is_not_replaced(tmp_path, write, entry):
    with pytest.raises(FileNotFoundError, match="no pictures of YOLO split 'train'. Looked in: "):
        yolo_folder(folder(tmp_path, write, f"names: [a]\ntrain: {entry}", "0 .5 .5 .5 .5"))


def test_labels_that_are_no_regular_file_are_said(tmp_path, write):
    root = folder(tmp_path, write, "names: [a]", "0 .5 .5 .5 .5")
    labels = tmp_path / "labels" / "train" / "a.txt"
    labels.unlink()
    for make in (lambda: labels.symlink_to("/dev/zero"), lambda: labels.symlink_to("nowhere"), labels.mkdir):
        make()
        with pytest.raises(ValueError, match="a.txt: (is not a regular file|cannot be read: No such file)"):
            yolo_folder(root)
        labels.rmdir() if labels.is_dir() else labels.unlink()


def test_key_points_leave_the_box_alone(tmp_path, write):
    lines = ["0 .5 .5 .5 .5 .4 .4 2 .6 .6 1", "0 .5 .5 .25 .5 0 0 0 .6 .6 2", "0 .25 .5 .5 1"]
    root = folder(tmp_path, write, "names: [a]\nkpt_shape: [2, 3]\n", *lines)
    np.testing.assert_allclose(yolo_folder(root).xywh, [[10, 5, 20, 10], [15, 5, 10, 10], [0, 0, 20, 20]])
    folder(tmp_path, write, "names: [a]\nkpt_shape: [3, 2]\n", lines[0][:-2])
    with pytest.raises(ValueError, match=r"10 numbers; expected 11, as kpt_shape is \[3, 2\]"):
        yolo_folder(root)


def test_key_points_without_kpt_shape_are_refused_with_both_readings(tmp_path, write):
    """The number of numbers fits polygons as well: 5 + 2 * 3 are 5 corners."""
    lines = ["0 .7 .7 .2 .3 .65 .65 .75 .65 0 0", "0 .3 .6 .2 .4 .25 .5 .35 .7 .3 .6"]
    root = folder(tmp_path, write, "names: [a]\n", *lines)
    both = r"3 key points, all points lie.*`kpt_shape: \[3, 2\]`.*polygons of 5 corners.*`kpt_shape: \[0, 0\]`"
    with pytest.raises(ValueError, match=both):
        yolo_folder(root)
    folder(tmp_path, write, "names: [a]\nkpt_shape: [0, 0]\n", *lines)
    assert yolo_folder(root).num_objects == 2
    outside = ["0 .7 .7 .2 .3 .65 .65 .75 .65 .3 .3", lines[1], "0 .8 .2 .1 .3 .8 .2 .82 .1 .84 .2"]
    folder(tmp_path, write, "names: [a]\n", *outside)  # a point of the first object lies outside of its box
    with pytest.raises(ValueError, match=r"in their boxes in 2 lines: .*`kpt_shape: \[3, 2\]`"):
        yolo_folder(root)
    folder(tmp_path, write, "names: [a]\n", "0 .5 .5 .4 .4 .4 .4 2 .9 .9 1", "0 .3 .3 .2 .2 .3 .3 1 0 0 0")
    with pytest.raises(ValueError, match=r"in their boxes in 1 lines: .*`kpt_shape: \[2, 3\]`"):
        yolo_folder(root)
    folder(tmp_path, write, "names: [a]\n", "0 .5 .5 .4 .4 .4 .4 2 .6 .6 1", "0 .3 .3 .2 .2 .3 .3 2 0 0 0")
    with pytest.raises(ValueError, match=r"`kpt_shape: \[2, 3\]`"):  # of three values a point, as many as 5 corners
        yolo_folder(root)


def test_merge_keys_of_data_yaml_are_followed(tmp_path, write):
    names = "more: &more {1: b, 2: wrong}\nnames:\n  <<: *more\n  0: a\n  2: c\n"
    root = folder(tmp_path, write, names, "2 .5 .5 .5 .5")
    assert yolo_folder(root).class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    "line",
    [
        "0 .5 .5 .6 .5 .6 .6 .5 .6",  # an upright box as four corners
        "0 .5 .4 .6 .5 .5 .6 .4 .5",  # an oriented one
        "0 .5 .5 .6 .5 .5 .6",  # a triangle
        "0 .1 .1 .12 .1 .13 .11 .12 .12 .1 .12",
    ],
)
def test_polygons_are_no_key_points(line):
    reader = LineReader({0: "a"})
    values = list(map(float, line.split()[1:]))
    _, (cx, cy, width, height) = reader.read(line)
    x, y = values[0::2], values[1::2]
    assert (cx - width / 2, cx + width / 2) == pytest.approx((min(x), max(x)))
    assert (cy - height / 2, cy + height / 2) == pytest.approx((min(y), max(y))) and not reader.doubt()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 .5 .5 .9", "a confidence .* or an angle"),
        ("0 .5 .5 .5 .5 .5 .5 2", r"1 key points of three numbers, add `kpt_shape: \[1, 3\]`"),
        ("0 .5 .5 .5 inf", "fractions"),
        ("0 .5 .5 .5 nan", "finite"),
        ("inf .5 .5 .5 .5", "finite"),
        ("0.5 .5 .5 .5 .5", "class 0.5; expected"),
        (".1 .1 .2 .1 .2 .2 .1 .2 ship 0", "expected numbers"),
    ],
)
def test_lines_of_other_dialects_say_what_they_may_be(line, message):
    with pytest.raises(ValueError, match=message):
        LineReader({0: "a"}).read(line)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_and_line_ends_of_windows(tmp_path, encoding):
    put(tmp_path, "images/train/a.png", "labels/train/a.txt", None)
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_bytes("1 .5 .5 .5 .5\r\n".encode(encoding))
    (tmp_path / "classes.txt").write_bytes("cat\r\ndog\r\n\r\n".encode(encoding))
    assert yolo_folder(str(tmp_path)).class_names == ("cat", "dog") and yolo_folder(str(tmp_path)).labels[0] == 1
    (tmp_path / "data.yaml").write_bytes("names: [Hund, Käse]\r\ntrain: list.txt\r\n".encode(encoding))
    (tmp_path / "list.txt").write_bytes("C:\\data\\set\\images\\train\\a.png\r\n".encode(encoding))
    records = yolo_folder(str(tmp_path))
    assert records.class_names == ("Hund", "Käse") and records.images.name(0) == "a.png"


def test_text_that_is_none_is_named(tmp_path, write):
    put(tmp_path, "images/train/a.png", "labels/train/a.txt", "0 .5 .5 .5 .5")
    write(b"K\xe4se\n", "classes.txt")
    with pytest.raises(ValueError, match="classes.txt: is not text in UTF-8"):
        yolo_folder(str(tmp_path))
    write("cat\n\ndog\n", "classes.txt")
    with pytest.raises(ValueError, match="line 2 is empty. 'dog' is class 2 if the empty line counts, and 1 if"):
        yolo_folder(str(tmp_path))


@pytest.mark.parametrize(
    "line",
    ["images/train/a.png", "./images/train/a.png", "/home/me/set/images/train/a.png", r"D:\set\images\train\a.png"],
)
@pytest.mark.parametrize("where", ["train.txt", "lists/train.txt"])
def test_lists_that_were_moved_are_found(tmp_path, write, line, where):
    root = folder(
        tmp_path, write, f"path: /elsewhere/set\nnames: [a]\ntrain: /elsewhere/set/{where}\n", "0 .5 .5 .5 .5"
    )
    write(f"{line}\n\n{line}\n", where)
    records = yolo_folder(root)
    assert len(records) == 1 and records.num_objects == 1


def test_lines_of_a_list_without_a_picture_are_named(tmp_path, write):
    root = folder(tmp_path, write, "names: [a]\ntrain: list.txt\n", "0 .5 .5 .5 .5")
    write("images/train/a.png\nimages/train/b.png\n/dev/zero\n", "list.txt")
    problems = read_yolo(root, "train").problems
    assert len(problems) == 2 and "list.txt, line 2: 'images/train/b.png': no such picture file" in problems[0]
    assert "line 3: '/dev/zero'" in problems[1]


def test_a_folder_called_images_alone_is_not_taken_for_a_split(tmp_path, write):
    root = folder(tmp_path, write, "names: [a]\nval: ../val/images\n", "0 .5 .5 .5 .5")
    with pytest.raises(FileNotFoundError, match="no pictures of YOLO split 'val'"):
        yolo_folder(root, "val")


def test_darknets_layout(tmp_path, write):
    """As CVAT exports YOLO 1.1: all paths begin with data/, which the archive does not have."""
    for split in ("train", "valid"):
        put(tmp_path, f"obj_{split}_data/f 0.png", f"obj_{split}_data/f 0.txt", "1 .5 .5 .5 1\n")
        write(f"data/obj_{split}_data/f 0.png\n", f"{split}.txt")
    lists = "".join(f"{split} = data/{split}.txt\n" for split in ("train", "valid"))
    write(f"classes = 2\n{lists}names = data/obj.names\nbackup = backup/\n", "obj.data")
    write("cat\ndog\n", "obj.names")
    assert detect_format(str(tmp_path)) == "yolo"
    for split in ("train", "val"):
        records = folder_records(str(tmp_path), split)
        assert records.class_names == ("cat", "dog") and records.labels.tolist() == [1]
        assert records.xywh.tolist() == [[10, 0, 20, 20]]
    write("cat\n", "obj.names")
    with pytest.raises(ValueError, match="it says '2' classes, and has 1 names"):
        folder_records(str(tmp_path), "train")
