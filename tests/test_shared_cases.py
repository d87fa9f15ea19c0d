"""Every folder of ../shared/cases, as its cmd.txt says, in a copy: what expected.txt asks for is in what comes out.

Skipped where that folder is not beside the checkout. `tests/data/test_cases.py` holds their boxes and pixels to the
numbers; here are the words and exit codes of the command line.
"""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from imbdet.commands import run
from imbdet.data.checks import check_before_training
from imbdet.data.datasets.folder import folder_records

CASES = Path(os.path.abspath(__file__)).parents[2] / "shared" / "cases"
CLASSES = {
    "02-yolo-names-from-1": ("apple", "pear", "plum"),
    "04-cvat-yolo-1.1": ("cat", "dog"),
    "06-yolo-pose": ("cat", "dog"),
    "07-yolo-bom": ("cat", "dog"),
    "10-labelstudio-file-name": None,
    "54-yaml-yes-no-class-names": ("yes", "no"),
    "01-voc-spaces": None,
    "49-16-bit-pictures": None,
    "50-cvat-masks-all-iscrowd-1": None,
}
SLOW = ("02-yolo-names-from-1", "10-labelstudio-file-name", "20-roboflow-class-0", "60-run-without-classes")
FUZZ = sorted(path.name for path in (CASES / "fuzz").glob("*/"))
NAMES = sorted(path.name for path in CASES.glob("*/") if path.name != "fuzz")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """here(name) copies the folder of a case and makes it the working directory."""

    def copied(name):
        shutil.copytree(CASES / name, tmp_path / "case", copy_function=shutil.copy)
        for path in (tmp_path / "case").rglob("*"):
            path.chmod(path.stat().st_mode | 0o200)
        monkeypatch.chdir(tmp_path / "case")
        return tmp_path / "case"

    return copied


def said(line):
    """(exit code, all that is printed) of one `imbdet VERB ...` line; what stands behind a pipe is left out."""
    words = shlex.split(line.partition(" | ")[0])
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        code = run(words[1], words[2:])
    assert "Traceback" not in text.getvalue()
    return code, text.getvalue()


def steps(name):
    """The commands of a cmd.txt in order; `mv` is done here."""
    text = (CASES / name / "cmd.txt").read_text(encoding="utf-8").split("\n", 1)[1]
    for line in (part.strip() for part in text.split("; ")):
        if line.startswith("mv "):
            os.rename(*line.split()[1:])
        else:
            yield said(line)


@pytest.mark.skipif(not NAMES, reason="../shared/cases is not here")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in NAMES] or ["none"]
)
def test_case(name, here):
    folder = here(name)
    done = list(steps(name))
    codes, texts = zip(*done, strict=True)
    if name == "50-cvat-masks-all-iscrowd-1":
        assert codes[0] == 1 and "12" in texts[0] and "iscrowd" in texts[0] and "no box at all" not in texts[0]
        return
    assert set(codes) == {0}, texts
    _EXPECTED.get(name, _loads)(folder, texts, name)


def _loads(folder, texts, name):
    train, val = (folder_records("data", split) for split in ("train", "val"))
    check_before_training(train, val)
    assert "0 errors" in texts[0] and train.num_objects and val.num_objects
    wanted = CLASSES.get(name)
    assert wanted is None or set(wanted) <= set(train.class_names)
    for records in (train, val):
        for i in range(len(records)):
            picture = records.images[i]
            assert int(picture.max()) - int(picture.min()) > 20


def _voc_spaces(folder, texts, name):
    _loads(folder, texts, name)
    assert len(re.findall(r"4 images, 8 annotations", texts[0])) == 2


def _fixed(out, boxes):
    def check(folder, texts, name):
        document = json.loads((folder / out).read_text())
        kept = [a for a in document["annotations"] if a["bbox"][2] > 0 and a["bbox"][3] > 0]
        assert len(kept) == boxes and "dropped" not in re.sub(r"0 dropped|dropped: 0|nothing.*dropped", "", texts[0])

    return check


def _text_ids(folder, texts, name):
    document = json.loads((folder / "out_c13.json").read_text())
    assert len(document["annotations"]) == 12 and "no box" not in texts[0]


def _grouping(folder, texts, name):
    result = json.loads((folder / "out_c20" / "result.json").read_text())
    groups = {row["name"]: row["group"] for row in result["evaluation"]["per_class"]}
    assert not groups["animals"] and "rare" in groups.values()
    weights = [float(x) for x in re.search(r"weights.*", texts[1])[0].replace(",", " ").split() if _is_number(x)]
    assert all(weight > 0.1 for weight in weights if weight)


def _is_number(word):
    return re.fullmatch(r"\d+\.\d+", word) is not None


def _classes_in_a_run(folder, texts, name):
    ap = [re.search(r"^AP .*?([\d.]+)$", text, re.MULTILINE)[1] for text in texts[1:3]]
    assert ap[0] == ap[1] and float(ap[0]) > 20 and (folder / "out_predictions" / "predictions.json").is_file()


_EXPECTED = {
    "01-voc-spaces": _voc_spaces,
    "11-polygons-without-bbox": _fixed("out_c11.json", 12),
    "11b-some-polygons-without-bbox": _fixed("out_c11b.json", 12),
    "13-string-image-ids": _text_ids,
    "20-roboflow-class-0": _grouping,
    "60-run-without-classes": _classes_in_a_run,
}


@pytest.mark.skipif(not FUZZ, reason="../shared/cases/fuzz is not here")
@pytest.mark.parametrize("name", FUZZ or ["none"])
def test_what_once_ended_in_a_traceback(name, here):
    """Each is one input of check_data, of the repair, of the loader, of an override, of results or of YOLO."""
    folder = here(f"fuzz/{name}")
    for line in _lines(folder, name.partition("-")[0]):
        if callable(line):
            with contextlib.suppress(ValueError, FileNotFoundError):
                line()
        else:
            assert said(f"imbdet {line}")[0] in (0, 1, 2)


def _lines(folder, kind):
    if kind == "yolo":
        for split in ("train", "val"):
            for part in ("images", "labels"):
                (folder / part / split).mkdir(parents=True)
            shutil.copy(folder / "0.txt", folder / "labels" / split)
            _picture(folder / "images" / split / "0.png")
        yield "check_data ."
        yield lambda: folder_records(".", "train")
    elif kind == "results":
        ids = range(1, 9)
        truth = {
            "images": [{"id": i, "width": 64, "height": 48} for i in ids],
            "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81} for i in ids],
            "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        }
        Path("gt.json").write_text(json.dumps(truth))
        yield "evaluate --annotations gt.json --results res.json"
    elif kind == "override":
        for config in ("retinanet_shapes", "faster_rcnn_shapes"):
            yield f"show_config --config baselines/{config} {shlex.quote(Path('o.txt').read_text().strip())}"
    else:
        (folder / "images" / "train").mkdir(parents=True)
        for i in range(8):
            _picture(folder / "images" / "train" / f"{i}.jpg")
            _picture(folder / "images" / "train" / f"{i:03d}.jpg")
        yield "check_data train.json --images images/train"
        yield "check_data train.json --images images/train --fix fixed.json --drop"
        yield lambda: check_before_training(folder_records(".", "train"))


def _picture(path):
    from PIL import Image

    Image.effect_noise((64, 48), 60).convert("RGB").save(path)
