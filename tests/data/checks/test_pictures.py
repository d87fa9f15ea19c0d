"""Picture files: missing, broken, of another size, turned, and in more than one split."""

import pytest
from PIL import Image

from imbdet.data.checks.findings import Findings
from imbdet.data.checks.fix import CannotFix, repair
from imbdet.data.checks.run import check_splits_fully, open_splits

from ..conftest import noise


@pytest.fixture
def check(write, pictures, tmp_path):
    """check(coco) -> findings and splits of the file, with its pictures in images/ as they are."""

    def run(*contents, decode=True, images=str(tmp_path / "images")):
        paths = [write(content, f"a/b/{i}.json") for i, content in enumerate(contents)]
        findings = Findings()
        splits = open_splits(paths, images, findings)
        check_splits_fully(splits, findings, decode)
        return list(findings), splits

    return run


def codes(findings):
    return [finding.code for finding in findings]


def test_good_pictures(coco, pictures, check):
    pictures(coco)
    assert check(coco)[0] == [] == check(coco, decode=False)[0]


def test_missing_and_unreadable_are_dropped_by_the_repair(coco, pictures, check, tmp_path):
    coco["images"] += [{"id": i, "file_name": f"{i}.png", "width": 9, "height": 9} for i in (10, 11)]
    folder = pictures(coco)
    (tmp_path / "images" / "10.png").unlink()
    (tmp_path / "images" / "11.png").write_text("<html>")
    found, splits = check(coco)
    assert [(f.code, f.image_id) for f in found if f.severity == "error"] == [
        ("picture_missing", 10),
        ("picture_unreadable", 11),
    ]
    assert f"{folder}/10.png" in found[0].value and "<html>" in found[1].value
    fixed, account = repair(splits[0].coco, splits[0].pictures)
    assert len(fixed["images"]) == 4 and sum(account.left.values()) == 2
    fixed, account = repair(splits[0].coco, splits[0].pictures, drop=True)
    assert [i["id"] for i in fixed["images"]] == [5, 3] and sum(account.dropped.values()) == 2


def test_wrong_folder_is_not_repaired_by_dropping_everything(coco, check, tmp_path):
    (tmp_path / "images").mkdir()
    found, splits = check(coco)
    assert codes(found) == ["picture_missing"] * 2
    with pytest.raises(CannotFix, match="2 of 2 pictures.*is it the right folder"):
        repair(splits[0].coco, splits[0].pictures, drop=True)


def test_truncated_is_an_error_only_seen_by_decoding(coco, pictures, check, tmp_path):
    pictures(coco)
    path = tmp_path / "images" / "a.png"
    path.write_bytes(path.read_bytes()[:-3000])
    (finding,) = check(coco)[0]
    assert (finding.code, finding.image_id, finding.severity) == ("picture_truncated", 5, "error")
    assert "a.png" in finding.value and not finding.fixable
    assert check(coco, decode=False)[0] == []


def test_size_is_corrected_where_the_boxes_fit(coco, pictures, check):
    pictures(coco)
    coco["images"][1].update(width=50, height=40)  # exchanged
    (finding,), splits = check(coco)
    assert finding.code == "size_differs" and "says 50x40, the picture is 40x50" in finding.value and finding.fixable
    fixed, _ = repair(splits[0].coco, splits[0].pictures)
    assert (fixed["images"][1]["width"], fixed["images"][1]["height"]) == (40, 50)
    assert check(fixed)[0] == []


def test_missing_size_is_taken_from_the_picture(coco, pictures, check):
    pictures(coco)
    del coco["images"][0]["width"]
    found, splits = check(coco)
    assert sorted(codes(found)) == ["lacks_key", "size_differs"]
    assert check(repair(splits[0].coco, splits[0].pictures)[0])[0] == []


@pytest.mark.parametrize(("width", "height"), [(128, 96), (20, 70)])
def test_size_is_not_corrected_where_boxes_may_lie_elsewhere(coco, pictures, check, width, height):
    """A picture at twice the annotated size; and a picture that a box reaches over."""
    pictures(coco)
    images = {**coco, "images": [{**coco["images"][0], "width": width, "height": height}]}
    pictures(images)
    (finding,), splits = check(coco)
    assert finding.code == "size_differs" and not finding.fixable and "resized" in finding.right
    assert repair(splits[0].coco, splits[0].pictures)[0] == coco


def test_turned_picture(coco, pictures, check, tmp_path):
    pictures(coco)
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(64, 48).save(tmp_path / "images" / "a.png", exif=exif)
    (finding,), splits = check(coco)
    assert finding.code == "size_turned" and "says 64x48, the picture is 48x64" in finding.value
    assert not finding.fixable and repair(splits[0].coco, splits[0].pictures)[0] == coco


def test_same_picture_in_train_and_val_by_content(coco, pictures, check, tmp_path):
    pictures(coco)
    (tmp_path / "images" / "other.png").write_bytes((tmp_path / "images" / "b.png").read_bytes())
    image = {"id": 1, "file_name": "other.png", "width": 40, "height": 50}
    val = {**coco, "images": [image], "annotations": [{**a, "image_id": 1} for a in coco["annotations"][::2]]}
    found, splits = check(coco, val)
    assert codes(found) == ["same_picture"] and found[0].image_id == 1
    assert "other.png is" in found[0].value and "b.png of" in found[0].value and found[0].file == splits[1].file
    assert codes(check({**coco, "images": [*coco["images"], image]})[0]).count("picture_repeated") == 1


def test_folders_of_both_splits_below_one(coco, write, pictures, tmp_path):
    for seed, split in enumerate(("train", "val")):
        write(coco, f"annotations/instances_{split}.json")
        pictures(coco, f"images/{split}", seed)
    findings = Findings()
    splits = open_splits([str(tmp_path)], None, findings)
    assert [split.folder.split("/")[-1] for split in splits] == ["train", "val"]
    check_splits_fully(splits, findings)
    assert list(findings) == []


def test_pictures_that_are_nowhere_are_said_to_be_unchecked(coco, check):
    found, _ = check(coco, images=None)
    assert codes(found) == ["pictures_not_checked"] and found[0].severity == "info"


def test_boxes_outside_a_wrong_size_are_not_dropped(coco, pictures, check):
    """The file says 40x5 where the picture has 40x50: its boxes are fine, and --drop must not lose them."""
    pictures(coco)
    coco["images"][1]["height"] = 5
    coco["annotations"][0]["bbox"], coco["annotations"][2]["bbox"] = [1, 20, 10, 20], [5, 30, 5, 100]
    found, splits = check(coco)
    assert {f.code for f in found} >= {"size_differs", "box_outside"} and not any(f.droppable for f in found)
    fixed, account = repair(splits[0].coco, splits[0].pictures, drop=True)
    assert len(fixed["annotations"]) == 3 and not account.dropped
