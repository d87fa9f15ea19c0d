"""Checks and loader are one: what `imbdet check_data` passes, training loads; what training refuses, it reports.

Valid data sets of each format are mutated at random (by fixed seeds): values of every wrong type, missing and repeated
keys, numbers beyond 64 bits, cut and damaged bytes. Neither side may end in anything but an answer.
"""

import copy
import json
import random
import shutil

import pytest

from imbdet.commands.check_data import main
from imbdet.data.checks import check_before_training
from imbdet.data.datasets.folder import folder_records
from imbdet.evaluation.coco import evaluate_coco

from ..conftest import noise

STRANGE = [
    *(None, True, False, 0, -1, 1, 2, 7, 1.5, -0.0, 1e9, 1e30, 1e308, -1e308, float("nan"), float("inf")),
    *(2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**400, "", "x", "1", "2", " 3 ", "1e5", "NaN", "\ud800", "\0"),
    *("../a.png", "C:\\a\\0.png", [], {}, [1], [1, 2, 3, 4], [[1, 2, 3, 4, 5, 6]], {"a": 1}, [[[]]], "a" * 300),
    {"size": [48, 64], "counts": [100, 5, 48 * 64 - 105]},
]


def coco(split):
    shapes = [[[3, 4, 13, 4, 13, 16, 3, 16]], {"size": [48, 64], "counts": [500, 10, 38, 10, 48 * 64 - 558]}]
    annotations = [
        {
            "id": i,
            "image_id": 1 + i % 3,
            "category_id": (1, 3)[i % 2],
            "bbox": [3.0 + i, 4.0, 10, 12 + i],
            "area": 10.0 * (12 + i),
            "iscrowd": 0,
        }
        for i in range(1, 8)
    ]
    for i, mask in enumerate(shapes):
        annotations[i]["segmentation"] = mask
    images = [{"id": i, "file_name": f"{i - 1}.png", "width": 64, "height": 48} for i in (1, 2, 3)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories()}


def categories():
    return [{"id": 1, "name": "a", "supercategory": "x"}, {"id": 3, "name": "b"}]


def places(value):
    """(container, key) of every value below this one."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def mutate(value, draw):
    """Change one value somewhere in a JSON tree."""
    container, key = draw.choice(list(places(value)) or [([0], 0)])
    action = draw.random()
    if action < 0.15:
        del container[key]
    elif action < 0.25 and isinstance(container, list):
        container.append(copy.deepcopy(container[key]))
    elif action < 0.35:
        other, there = draw.choice(list(places(value)))
        container[key] = copy.deepcopy(other[there])
    else:
        container[key] = copy.deepcopy(draw.choice(STRANGE))


def damage(data, draw):
    """Cut, flip or repeat some bytes of a file; mostly nothing."""
    action, place = draw.random(), draw.randrange(len(data) + 1)
    if action < 0.06:
        return data[:place]
    if action < 0.12:
        return data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :]
    if action < 0.16:
        return data[:place] + data[place : place + 40] + data[place:]
    return b"\xef\xbb\xbf" + data if action < 0.2 else data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of two splits, each another."""
    root = tmp_path_factory.mktemp("agreement")
    for seed, split in enumerate(("train", "val")):
        (root / "images" / split).mkdir(parents=True)
        for i in range(3):
            noise(64, 48, 10 * seed + i).save(root / "images" / split / f"{i}.png")
    return root


def loads(root):
    """Whether training takes the folder, and why not."""
    try:
        train, val = folder_records(str(root), "train"), folder_records(str(root), "val")
        check_before_training(train, val)
        for records in (train, val):
            for i in range(len(records)):
                assert records.images[i].shape[0] == 3
                records.target(i)
        return True, ""
    except (ValueError, FileNotFoundError) as error:
        assert str(error) and "Traceback" not in str(error)
        return False, str(error)


def agree(root, capsys, what):
    code = main([str(root), "--max", "20"])
    said = capsys.readouterr()
    taken, why = loads(root)
    assert code in (0, 1, 2) and (code == 0) == taken, f"{what}\n{said.out}{said.err}\ntraining: {why or 'loads'}"
    return code


def coco_case(root, seed):
    """A COCO folder with a mutated file."""
    draw = random.Random(seed)
    shutil.rmtree(root / "annotations", ignore_errors=True)
    (root / "annotations").mkdir()
    mutated = draw.choice(("train", "val"))
    for split in ("train", "val"):
        content = coco(split)
        for _ in range(draw.choice((1, 1, 2, 3)) if split == mutated else 0):
            mutate(content, draw)
        data = json.dumps(content).encode()
        (root / "annotations" / f"instances_{split}.json").write_bytes(damage(data, draw) if split == mutated else data)


def test_the_unchanged_set_is_taken(folder, capsys):
    (folder / "annotations").mkdir(exist_ok=True)
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco(split)))
    assert agree(folder, capsys, "unchanged") == 0


def agree_after_repair(root, capsys, what):
    """--fix never makes more errors than it says, and with --drop nothing is left that could be dropped."""
    for split in ("train", "val"):
        file, out = root / "annotations" / f"instances_{split}.json", root / "out.json"
        for options in ([], ["--drop"]):
            code = main([str(file), "--fix", str(out), *options])
            said = capsys.readouterr()
            if "nothing was written" in said.err:
                assert code == 1
                continue
            account, _, checked = said.out.partition("out.json checked:")
            assert (code == 0) == ("\n0 errors" in checked), f"{what}\n{said.out}"
            assert "[--fix]" not in checked and "--fix repairs some" not in checked, f"{what}\n{said.out}"
            assert ("drops" in checked) == (not options and "drops" in checked), f"{what}\n{said.out}"
            assert options or account.count("; 0 dropped") == 3, f"{what}\n{said.out}"


YOLO_LINES = ["0 0.5 0.5 0.2 0.3", "1 0.3 0.3 0.1 0.1", "1 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3"]
WORDS = [
    "nan",
    "inf",
    "-inf",
    "1e9990",
    "-1",
    "2",
    "1.5",
    "0.0",
    "99",
    "x",
    "",
    "1e309",
    "9" * 400,
    "\ufeff",
    "\0",
    "1_0",
]


def yolo_case(root, seed):
    """A YOLO folder with a mutated line, data.yaml or byte."""
    draw = random.Random(seed)
    shutil.rmtree(root / "labels", ignore_errors=True)
    described = {"path": ".", "train": "images/train", "val": "images/val", "nc": 2, "names": ["a", "b"]}
    mutated = draw.choice(("train", "val", "yaml", "yaml"))
    for split in ("train", "val"):
        (root / "labels" / split).mkdir(parents=True)
        for i in range(3):
            lines = [line.split() for line in YOLO_LINES[i:]]
            if split == mutated:
                draw.choice(lines)[draw.randrange(5)] = draw.choice(WORDS)
            data = "\n".join(map(" ".join, lines)).encode()
            (root / "labels" / split / f"{i}.txt").write_bytes(damage(data, draw) if split == mutated else data)
    if mutated == "yaml":
        key = draw.choice(list(described))
        described[key] = draw.choice([None, 7, -1, 1.5, True, [], {}, "x", ["a"], {"0": "a"}, [1, 2], [["a"]], 10**400])
    data = json.dumps(described).encode()
    (root / "data.yaml").write_bytes(damage(data, draw) if mutated == "yaml" else data)


def voc_case(root, seed):
    """A Pascal VOC folder with a mutated XML file."""
    draw = random.Random(seed)
    shutil.rmtree(root / "Annotations", ignore_errors=True)
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    shutil.copytree(root / "images" / "train", root / "JPEGImages", dirs_exist_ok=True)
    shutil.copytree(root / "images" / "val", root / "JPEGImages" / "v", dirs_exist_ok=True)
    for i in range(3):
        (root / "JPEGImages" / f"{i + 3}.png").write_bytes((root / "images" / "val" / f"{i}.png").read_bytes())
    shutil.rmtree(root / "JPEGImages" / "v")
    for split, stems in (("train", (0, 1, 2)), ("val", (3, 4, 5))):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(map(str, stems)))
    changed = draw.randrange(6)
    for i in range(6):
        values = {"w": "64", "h": "48", "name": "ab"[i % 2], "d": "0", "x": "3", "y": "4", "X": "20", "Y": "30"}
        if i == changed:
            values[draw.choice(list(values))] = draw.choice([*(w for w in WORDS if "\0" not in w), "a b"])
        xml = (
            "<annotation><filename>{i}.png</filename><size><width>{w}</width><height>{h}</height></size><object>"
            "<name>{name}</name><difficult>{d}</difficult><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{X}</xmax>"
            "<ymax>{Y}</ymax></bndbox></object></annotation>"
        ).format(i=i, **values)
        data = xml.encode()
        (root / "Annotations" / f"{i}.xml").write_bytes(damage(data, draw) if i == changed else data)


def results_case(root, seed):
    """A ground truth and mutated results; evaluation gives numbers or one line."""
    draw = random.Random(seed)
    rows = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.1 * i}
        for i, a in enumerate(coco("val")["annotations"])
    ]
    truth = coco("val")
    for _ in range(draw.choice((1, 2))):
        mutate(truth if draw.random() < 0.3 else rows, draw)
    (root / "truth.json").write_text(json.dumps(truth))
    (root / "results.json").write_bytes(damage(json.dumps(rows).encode(), draw))


@pytest.fixture
def copied(folder, tmp_path):
    """The pictures alone."""
    shutil.copytree(folder / "images", tmp_path / "images")
    return tmp_path


BLOCKS = [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 40))]


@pytest.mark.parametrize("block", BLOCKS)
def test_mutated_coco(block, copied, capsys):
    taken = 0
    for seed in range(15 * block, 15 * block + 15):
        coco_case(copied, seed)
        taken += agree(copied, capsys, f"seed {seed}") == 0
        agree_after_repair(copied, capsys, f"seed {seed}")
    assert 0 < taken < 15  # both answers come up


@pytest.mark.parametrize("case", [yolo_case, voc_case])
@pytest.mark.parametrize("block", BLOCKS)
def test_mutated_labels(block, case, copied, capsys):
    for seed in range(10 * block, 10 * block + 10):
        case(copied, seed)
        agree(copied, capsys, f"seed {seed}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", BLOCKS)
def test_mutated_results(block, tmp_path):
    for seed in range(30 * block, 30 * block + 30):
        results_case(tmp_path, seed)
        try:
            result = evaluate_coco(str(tmp_path / "truth.json"), str(tmp_path / "results.json"))
            assert -1 <= result.metrics["AP"] <= 1 or result.metrics["AP"] != result.metrics["AP"]
        except ValueError as error:
            assert str(tmp_path) in str(error) and "\n" not in str(error)
