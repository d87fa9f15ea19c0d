"""Every fault alone is found with its place and nothing else is, and the repair leaves no repairable fault behind."""

import copy
import json

import numpy as np
import pytest
from pycocotools import mask as maskUtils

from imbdet.data.checks.findings import Findings
from imbdet.data.checks.fix import CannotFix, repair
from imbdet.data.checks.rules import RULES
from imbdet.data.checks.run import apply_rules, check_before_training, quick_checks, read_file
from imbdet.data.checks.table import FileTable
from imbdet.data.datasets.coco import load_coco

from ..conftest import tiny_coco


def check(coco):
    findings = Findings()
    apply_rules(FileTable(copy.deepcopy(coco), "f.json"), findings)
    return findings


def a(c, i=0):
    return c["annotations"][i]


# name: (change, {code: count}, image id of the first finding, annotation id, part of its text)
FAULTS = {
    "no annotations key": (lambda c: c.pop("annotations"), {"lacks_key": 1}, None, None, "annotations"),
    "images no list": (
        lambda c: c.update(images={}), {"wrong_type": 1}, None, None, "$.images: an"
    ),
    "no images": (lambda c: c.update(images=[]), {"no_images": 1}, None, None, None),
    "no categories": (lambda c: c.update(categories=[]), {"no_categories": 1}, *3 * [None]),
    "no bbox": (lambda c: a(c).pop("bbox"), {"lacks_key": 1}, 3, 1, "$.annotations[0].bbox"),
    "bbox of three": (lambda c: a(c, 2).update(bbox=[1, 2, 3]), {"wrong_type": 1}, 3, 3, "[1, 2, 3]"),
    "entry no object": (lambda c: c["annotations"].append(7), {"wrong_type": 1}, None, None, "$.annotations[3]"),
    "id as text": (lambda c: a(c).update(image_id="3"), {"text_ids": 1}, "3", 1, "'3', as all like it, is"),
    "id a list": (lambda c: a(c).update(image_id=[3]), {"wrong_type": 1}, [3], 1, "a list, [3]"),
    "id beyond 64 bits": (lambda c: a(c).update(image_id=2**63), {"wrong_type": 1}, 2**63, 1, "9223372036854775808"),
    "id true": (lambda c: a(c).update(id=True), {"wrong_type": 1}, 3, True, "true"),
    "text ids": (
        lambda c: [c["images"][1].update(id="b"), a(c).update(image_id="b"), a(c, 2).update(image_id="b")],
        {"text_ids": 2}, 5, None, "numbered 1, 2, 3 ... in the order of the file"
    ),
    "mask and no box": (
        lambda c: a(c).update(bbox=None, segmentation=[[1, 2, 11, 2, 11, 22, 1, 22]]), {"missing_box": 1}, 3, 1, "bbox"
    ),
    "all crowd": (
        lambda c: [a.update(iscrowd=1) for a in c["annotations"]], {"only_crowd": 1}, *2 * [None], "all 3 annotations"
    ),
    "no annotation": (lambda c: c.update(annotations=[]), {"no_boxes": 1}, *3 * [None]),
    "iscrowd a list": (lambda c: a(c).update(iscrowd=[]), {"wrong_type": 1}, 3, 1, "a list, []"),
    "width infinite": (lambda c: c["images"][0].update(width=float("inf")), {"image_size": 1}, 5, None, "infx48"),
    "width NaN": (lambda c: c["images"][0].update(width=float("nan")), {"image_size": 1}, 5, None, "48"),
    "no width": (lambda c: c["images"][0].pop("width"), {"lacks_key": 1}, 5, None, "$.images[0].width"),
    "width 0": (lambda c: c["images"][0].update(width=0), {"image_size": 1}, 5, None, "0x48"),
    "no file name": (lambda c: c["images"][0].pop("file_name"), {"lacks_key": 1}, 5, None, "file_name"),
    "image id twice": (
        lambda c: c["images"][1].update(id=5), {"duplicate_image_id": 1, "unknown_image": 2}, 5, None, "[1] 'b.png'"
    ),
    "image entry twice": (
        lambda c: c["images"].append(dict(c["images"][0])), {"duplicate_image_id": 1}, 5, None, "$.images[2] 'a.png'"
    ),
    "file name twice": (
        lambda c: c["images"][1].update(file_name="a.png"), {"duplicate_file_name": 1}, 3, None, "images [5, 3]"
    ),
    "annotation id twice": (lambda c: a(c, 1).update(id=1), {"duplicate_annotation_id": 1}, 5, 1, "annotations[1].id"),
    "annotation id 0": (lambda c: a(c).update(id=0), {"annotation_id_0": 1}, 3, 0, "$.annotations[0].id"),
    "no annotation id": (lambda c: a(c).pop("id"), {"lacks_key": 1}, 3, None, "$.annotations[0].id"),
    "category id twice": (
        lambda c: c["categories"][1].update(id=9), {"duplicate_category_id": 1, "unknown_category": 2}, *3 * [None]
    ),
    "category name twice": (
        lambda c: c["categories"][1].update(name="dog"), {"duplicate_category_name": 1}, None, None, "9 and 2"
    ),
    "unknown image": (lambda c: a(c, 2).update(image_id=4), {"unknown_image": 1}, 4, 3, "image_id 4"),
    "unknown category": (lambda c: a(c, 2).update(category_id=4), {"unknown_category": 1}, 3, 3, "category_id 4"),
    "NaN": (lambda c: a(c, 2).update(bbox=[1, 2, float("nan"), 4]), {"box_not_finite": 1}, 3, 3, "nan"),
    "negative size": (lambda c: a(c, 2).update(bbox=[9, 9, -5, 4]), {"box_negative_size": 1}, 3, 3, "-5"),
    "zero size": (lambda c: a(c, 2).update(bbox=[9, 9, 0, 4]), {"box_zero_size": 1}, 3, 3, "[9.0, 9.0, 0.0, 4.0]"),
    "outside": (lambda c: a(c, 2).update(bbox=[40, 9, 5, 5]), {"box_outside": 1}, 3, 3, "image of 40x50"),
    "partly outside": (lambda c: a(c, 2).update(bbox=[37, 9, 5, 5]), {"box_partly_outside": 1}, 3, 3, "of 40x50"),
    "half a pixel outside": (lambda c: a(c, 2).update(bbox=[35.5, 9, 5, 5]), {}, None, None, None),
    "same box twice": (
        lambda c: c["annotations"].append({**a(c, 2), "id": 4}), {"duplicate_box": 1}, 3, 4, "[5.0, 5.0"
    ),
    "area of 1 pixel": (lambda c: a(c, 1).update(area=1), {"wrong_area": 1}, 5, 2, "area 1, but the box has 1220"),
    "area 0": (lambda c: a(c, 1).update(area=0), {"wrong_area": 1}, 5, 2, "area 0"),
    "area is the whole image": (lambda c: a(c, 1).update(area=3072), {"wrong_area": 1}, 5, 2, "3072"),
    "area of no mask": (
        lambda c: a(c, 1).update(segmentation=[[0, 0, 30.5, 0, 0, 40]], area=100), {"wrong_area": 1}, 5, 2, "mask 610.0"
    ),
    "area of the mask": (lambda c: a(c, 1).update(segmentation=[[0, 0, 30.5, 0, 0, 40]], area=610), {}, *3 * [None]),
    "no area": (lambda c: a(c).pop("area"), {"missing_area": 1}, 3, 1, "$.annotations[0]"),
    "no iscrowd": (lambda c: a(c).pop("iscrowd"), {"missing_iscrowd": 1}, 3, 1, "$.annotations[0]"),
    "iscrowd as text": (lambda c: a(c, 2).update(iscrowd="0"), {"wrong_iscrowd": 1}, 3, 3, '"0"'),
    "class without boxes": (
        lambda c: c["categories"].append({"id": 1, "name": "cow"}), {"class_without_boxes": 1}, None, None, "'cow'"
    ),
    "grouping category": (
        lambda c: [c["categories"][0].update(supercategory="x"), c["categories"].append({"id": 0, "name": "x"})],
        {"grouping_category": 1}, None, None, "'x' (category id 0)"
    ),
    "image without objects": (
        lambda c: c["images"].append({"id": 8, "file_name": "c.png", "width": 5, "height": 5}),
        {"images_without_objects": 1}, None, None, "1 of 3 images",
    ),
}  # fmt: skip


def test_nothing_is_wrong_with_the_tiny_set():
    assert list(check(tiny_coco())) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found_with_its_place(fault):
    change, expected, image_id, annotation_id, text = FAULTS[fault]
    coco = tiny_coco()
    change(coco)
    found = {}
    for finding in check(coco):
        found[finding.code] = found.get(finding.code, 0) + 1
    assert found == expected
    if text is not None:
        first = next(f for f in check(coco) if f.code == next(iter(expected)))
        assert (first.image_id, first.annotation_id, first.file) == (image_id, annotation_id, "f.json")
        assert text in str(first) and first.right


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_repair_accounts_for_everything(fault, drop):
    coco = tiny_coco()
    FAULTS[fault][0](coco)
    before = json.dumps(coco)
    try:
        fixed, account = repair(coco, drop=drop)
    except CannotFix as error:
        assert "is not there, or no list" in str(error)
        return
    assert json.dumps(coco) == before  # the original is left alone
    found, left = list(check(coco)), list(check(fixed))
    assert [str(f) for f in left if f.fixable] == []
    assert bool(account.changes or account.merged) == any(f.fixable for f in found)
    for part, entries in fixed.items():
        merged = sum(count for (of, _), count in account.merged.items() if of == part)
        dropped = sum(count for (of, _), count in account.dropped.items() if of == part)
        assert len(entries) == account.kept[part] == account.before[part] - merged - dropped
        assert account.changed[part] == sum(entry not in coco[part] for entry in entries)
    if drop:
        assert not any(f.droppable for f in left) and not account.left
    else:
        assert not account.dropped
        assert sum(account.left.values()) == sum(f.droppable and f.severity == "error" for f in left)


def test_repair_changes_only_what_is_wrong():
    coco = tiny_coco()
    coco["info"] = {"year": 2020}
    coco["annotations"][1].update(score=0.5, area=1)
    coco["annotations"].append({"id": 2, "image_id": 5, "category_id": 9, "bbox": [60, 40, 10, 4]})
    fixed, account = repair(coco)
    assert fixed["annotations"][0] == coco["annotations"][0] and fixed["info"] == {"year": 2020}
    assert fixed["annotations"][1] == {**coco["annotations"][1], "area": 1220}
    new = {"id": 4, "image_id": 5, "category_id": 9, "bbox": [60, 40, 4, 4], "iscrowd": 0, "area": 16}
    assert fixed["annotations"][3] == new
    assert account.lines() == [
        "images: 2 of 2 kept, of these 0 changed; 0 dropped",
        "annotations: 4 of 4 kept, of these 2 changed; 0 dropped",
        "categories: 2 of 2 kept, of these 0 changed; 0 dropped",
        "changed: 1 annotations: annotation given a new id (duplicate_annotation_id)",
        "changed: 1 annotations: box clipped to its image (box_partly_outside)",
        "changed: 1 annotations: `iscrowd` set to 0 (missing_iscrowd)",
        "changed: 1 annotations: `area` computed from the box (missing_area)",
        "changed: 1 annotations: `area` computed from the box (wrong_area)",
    ]
    fixed, account = repair(tiny_coco())
    assert fixed == tiny_coco() and not account.changes


BROKEN = [None, [], [1, 2, 3], ["x", 1, 2, 3], [float("nan"), 1, 1, 1], [9, 9, 0, 0], [9, 9, -3, 2], [99, 99, 3, 3]]


@pytest.mark.parametrize("box", BROKEN)
@pytest.mark.parametrize("kind", ["polygon", "run lengths", "compressed"])
def test_a_box_that_cannot_be_used_is_computed_from_the_mask(box, kind):
    """The rectangle from (5, 6) to (12, 9), in each of COCO's three forms."""
    mask = np.zeros((50, 40), dtype=np.uint8, order="F")
    mask[6:9, 5:12] = 1
    compressed = maskUtils.encode(mask)
    compressed = {"size": compressed["size"], "counts": compressed["counts"].decode()}
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    lengths = {"size": [50, 40], "counts": np.diff([0, *edges, flat.size]).tolist()}
    masks = {"polygon": [[5, 6, 12, 6, 12, 9, 5, 9]], "run lengths": lengths, "compressed": compressed}
    coco = tiny_coco()
    coco["annotations"][0].update(bbox=box, segmentation=masks[kind], area=21)
    fixed, account = repair(coco)
    assert fixed["annotations"][0]["bbox"] == [5, 6, 7, 3] and not account.left
    assert not list(check(fixed))


def test_nothing_is_dropped_without_drop():
    coco = tiny_coco()
    coco["annotations"][0].update(bbox=[99, 99, 3, 3], area=9)
    coco["annotations"][1]["image_id"] = 77
    fixed, account = repair(coco)
    assert fixed == coco and sum(account.left.values()) == 2 and check(fixed).has_errors
    assert any("NOT repaired: 1 annotations: box entirely outside" in line for line in account.lines())
    fixed, account = repair(coco, drop=True)
    assert [a["id"] for a in fixed["annotations"]] == [3] and sum(account.dropped.values()) == 2
    assert not check(fixed).has_errors


@pytest.mark.parametrize(
    ("box", "clipped"), [([-2, -3, 10, 10], [0, 0, 8, 7]), ([35, 45, 10, 10], [35, 45, 5, 5]), ([-5, 1, 5, 5], None)]
)
def test_boxes_are_clipped_on_every_side_and_dropped_where_nothing_is_left(box, clipped):
    coco = tiny_coco()
    coco["annotations"][2].update(bbox=box, area=box[2] * box[3])
    assert check(coco).count("box_partly_outside" if clipped else "box_outside") == 1
    boxes = [annotation["bbox"] for annotation in repair(coco, drop=True)[0]["annotations"]]
    assert boxes[2:] == ([clipped] if clipped else [])


def test_repair_merges_before_it_drops():
    coco = tiny_coco()
    coco["images"][1]["file_name"] = "a.png"
    coco["categories"][1]["name"] = "dog"
    fixed, _ = repair(coco)
    assert [i["id"] for i in fixed["images"]] == [5] and [c["id"] for c in fixed["categories"]] == [9]
    assert [(x["image_id"], x["category_id"]) for x in fixed["annotations"]] == [(5, 9)] * 3


@pytest.mark.parametrize(
    ("convert", "words"),
    [
        (lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]], "corners"),
        (lambda b: [b[0] / 640, b[1] / 640, b[2] / 640, b[3] / 640], "fractions"),
    ],
)
def test_other_conventions_are_recognized_and_not_repaired(convert, words):
    coco = tiny_coco()
    coco["images"] = [{"id": 5, "file_name": "a.png", "width": 640, "height": 640}]
    boxes = [[300, 400, 200, 100], [10, 20, 30, 30], [320, 10, 310, 600], [400, 400, 100, 100], [1, 1, 2, 2]]
    assert check({**coco, "annotations": []}).count("box_convention") == 0
    coco["annotations"] = [
        {"id": i, "image_id": 5, "category_id": 9, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, box in enumerate(boxes, 1)
    ]
    assert check(coco).count("box_convention") == 0
    for annotation in coco["annotations"]:
        annotation["bbox"] = convert(annotation["bbox"])
    finding = next(f for f in check(coco) if f.code == "box_convention")
    assert words in finding.value
    with pytest.raises(CannotFix, match=words):
        repair(coco)


@pytest.mark.parametrize(
    ("content", "codes"),
    [
        ("", {"unreadable_file"}),
        ('{"images": [', {"unreadable_file"}),
        ("[]", {"wrong_type"}),
        ('{"images": [], "x": NaN}', {"not_strict_json"}),
        ("\ufeff{}", set()),
        ("[" * 100_000, {"unreadable_file"}),
        ('{"images": ' + "[" * 5000 + "]" * 5000 + "}", {"unreadable_file"}),
        ('{"images": [], "images": []}', {"duplicate_key"}),
        ('{"images": [{"id": 1, "id": 2}]}', {"duplicate_key"}),
        ('{"images": [], "info": "\\ud800"}', {"not_strict_json"}),
    ],
)
def test_unreadable_text(write, content, codes):
    findings = Findings()
    read_file(write(content), findings)
    assert {f.code for f in findings} == codes


def test_what_a_licence_has_is_no_key_twice(write):
    """Ids of other lists are counted, so that a file with licences is not read a second time for nothing."""
    findings, content = Findings(), tiny_coco()
    read_file(write(json.dumps({**content, "licenses": [{"id": 1}, {"id": 2}]})), findings)
    assert not list(findings)


@pytest.mark.parametrize("where", ["train", "val"])
def test_training_says_what_stands_twice_as_the_checks_do(tmp_path, where, monkeypatch):
    for name in ("train", "val"):
        text = json.dumps(tiny_coco())
        text = text.replace('"iscrowd": 0', '"iscrowd": 1, "iscrowd": 0', 1) if name == where else text
        (tmp_path / f"{name}.json").write_text(text.replace("png", f"{name}.png"))
    said: list[str] = []
    monkeypatch.setattr("imbdet.data.checks.run._log.warning", lambda text, *words: said.append(text % words))
    records = [load_coco(str(tmp_path / f"{name}.json"), str(tmp_path)) for name in ("train", "val")]
    found = [(f.code, f.file, f.value) for f in check_before_training(*records) if f.code == "duplicate_key"]
    assert found == [("duplicate_key", str(tmp_path / f"{where}.json"), "'iscrowd', 1 times")]
    assert any("a key stands twice in one object" in line for line in said)


def test_training_knows_a_grouping_category_as_the_checks_do(tmp_path):
    coco = tiny_coco()
    for category in coco["categories"]:
        category["supercategory"] = "animals"
    coco["categories"] += [{"id": 0, "name": "animals", "supercategory": 7}]
    (tmp_path / "train.json").write_text(json.dumps(coco))
    records = load_coco(str(tmp_path / "train.json"), str(tmp_path))
    findings = Findings()
    apply_rules(FileTable(coco, "train.json"), findings)
    assert [f.code for f in findings] == [f.code for f in quick_checks(records)] == ["grouping_category"]
    written = {c["name"]: c.get("supercategory") for c in records.to_coco()["categories"]}
    assert written == {c["name"]: None if c["name"] == "animals" else "animals" for c in coco["categories"]}


def test_real_annotations_have_no_error(shared_data):
    path = str(shared_data / "coco_val2014_100" / "instances_val2014_100.json")
    findings = Findings()
    apply_rules(FileTable(read_file(path, findings), path), findings)
    assert {f.code for f in findings} == {"class_without_boxes"}


def test_every_rule_of_the_file_is_covered():
    """What the other test files check: pictures, splits, unreadable files."""
    elsewhere = {code for code in RULES if code.startswith(("picture", "size_", "same_", "class"))}
    elsewhere |= {"unreadable_file", "not_strict_json", "duplicate_key", "box_convention", "category_ids_differ"}
    elsewhere |= {"label_file", "missing_split", "no_pictures", "not_loadable"}
    covered = {code for fault in FAULTS.values() for code in fault[1]}
    assert set(RULES) - elsewhere - covered == set()


def test_many_findings_are_counted_and_not_all_kept(monkeypatch):
    monkeypatch.setattr("imbdet.data.checks.findings.KEPT", 2)
    findings = Findings()
    for i in range(5):
        findings.add("missing_iscrowd", "f.json", annotation_id=i)
    assert findings.count("missing_iscrowd") == 5 and len(list(findings)) == 2
    assert findings.to_dict()["counts"] == {"error": 0, "warning": 5, "info": 0} and not findings.has_errors
    assert "... and 4 more" in findings.summary(examples=1)


def test_a_grouping_category_is_said_once():
    """Roboflow's category 0: the `supercategory` of the others, with no box; and a class that nobody labeled."""
    findings = Findings()
    for path in ("train.json", "val.json"):
        coco = tiny_coco()
        for category in coco["categories"]:
            category["supercategory"] = "animals"
        coco["categories"] += [{"id": 0, "name": "animals", "supercategory": "none"}, {"id": 1, "name": "cow"}]
        apply_rules(FileTable(coco, path), findings)
    told = [(f.code, f.file, f.value) for f in findings]
    assert ("grouping_category", "train.json", "'animals' (category id 0)") in told
    assert ("class_without_boxes", "train.json", "'cow' (category id 1)") in told and len(told) == 2
