"""tools/check_data.py as a user meets it: exit codes, the summary, the repair, wrong use."""

import json

import pytest

from imbdet.commands.check_data import main


@pytest.fixture
def broken(tiny_coco_copy):
    """A folder whose training file has one error of its own and one warning in every annotation."""
    path = tiny_coco_copy / "instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [10, 10, -5, 5]
    for annotation in content["annotations"]:
        annotation.pop("area")
    path.write_text(json.dumps(content))
    return path


def test_a_good_folder(tiny_coco, capsys):
    assert main([str(tiny_coco)]) == 0
    out = capsys.readouterr().out
    assert "instances_train.json: 8 images" in out and "instances_test.json: 4 images" in out
    assert out.strip().splitlines()[-1].startswith("0 errors")


def test_errors_are_listed_with_their_place(broken, capsys):
    assert main([str(broken), "--max", "1"]) == 1
    out = capsys.readouterr().out
    assert f"error: box of negative size (box_negative_size), 1 in {broken} [--fix --drop drops them]" in out
    assert "$.annotations[0]: [10.0, 10.0, -5.0, 5.0]" in out and "more" in out and "Repair" in out
    assert out.index("box_negative_size") < out.index("missing_area")


def test_fix_drops_on_demand_only_and_says_so(broken, tmp_path, capsys):
    fixed, report = tmp_path / "fixed.json", tmp_path / "report.json"
    arguments = [str(broken), "--images", str(broken.parent), "--fix", str(fixed), "--json", str(report)]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "annotations: 16 of 16 kept, of these 15 changed; 0 dropped" in out and f"wrote {fixed}" in out
    assert "NOT repaired: 1 annotations: box of negative size (box_negative_size)" in out and "--drop" in out
    assert len(json.loads(fixed.read_text())["annotations"]) == 16 and "1 errors" in out.splitlines()[-1]
    assert main([*arguments, "--drop"]) == 0
    out = capsys.readouterr().out
    assert "annotations: 15 of 16 kept, of these 15 changed; 1 dropped" in out and "0 errors" in out.splitlines()[-1]
    assert main([str(fixed), "--images", str(broken.parent)]) == 0
    content = json.loads(report.read_text())
    assert content["counts"]["error"] == 1 and content["findings"][0]["code"] == "box_negative_size"
    assert set(content["findings"][0]) >= {"file", "image_id", "annotation_id", "value", "right", "fixable"}
    assert [path.name for path in tmp_path.glob("*.part")] == []


def test_unreadable_file_is_an_error_not_a_crash(tmp_path, capsys):
    path = tmp_path / "cut.json"
    path.write_text('{"images": [')
    assert main([str(path)]) == 1
    assert "cut short" in capsys.readouterr().out
    assert main([str(path), "--fix", str(tmp_path / "out.json")]) == 1
    assert "nothing was written" in capsys.readouterr().err and not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.json"], "nothing.json: no such file or folder"),
        (["{tmp}"], "no annotations of a train, val or test split"),
        (["{good}/instances_train.json", "--images", "nowhere"], "nowhere: no such folder"),
        (["{good}", "--drop"], "--drop goes with --fix"),
        (["{good}", "--fix", "x.json"], "one file at a time, but these are 3"),
        (["{good}/instances_train.json", "--fix", "{good}/instances_train.json"], "is the file that is checked"),
        (["{good}/instances_train.json", "--fix", "{good}/instances_val.json/x.json"], "cannot write .*x.json: "),
    ],
)
def test_wrong_use_exits_with_2(arguments, message, tiny_coco, tmp_path, capsys):
    import re

    arguments = [argument.format(tmp=tmp_path, good=tiny_coco) for argument in arguments]
    assert main(arguments) == 2
    assert re.search(message, capsys.readouterr().err)


def test_voc_and_yolo_folders(tmp_path, capsys):
    from PIL import Image

    for folder in ("images/train", "labels/train", "voc/train"):
        (tmp_path / folder).mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(tmp_path / "images/train/a.png")
    (tmp_path / "labels/train/a.txt").write_text("0 .5 .5 .5 .5\n7 .5 .5 .5 .5\n0 .5 .5 1.5 .5\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "a.txt, line 2" in out and "class 7" in out and "box_partly_outside" in out
    Image.new("RGB", (40, 20)).save(tmp_path / "voc/train/a.png")
    (tmp_path / "voc/train/a.xml").write_text("<annotation><object></annotation>")
    assert main([str(tmp_path / "voc")]) == 1
    out = capsys.readouterr().out
    assert "a.xml" in out and "mismatched tag" in out and "no_images" not in out and "no_boxes" not in out
