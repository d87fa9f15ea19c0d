"""The command and the page: whole runs on small data, escaping, bad input, and what a notebook shows."""

import json
from dataclasses import replace

import numpy as np
import pytest

import imbdet
from imbdet.cli import main
from imbdet.data.datasets.shapes import shapes
from imbdet.diagnose import SECTIONS, svg
from imbdet.diagnose.diagnosis import plain
from imbdet.diagnose.inputs import as_splits, read_paths
from imbdet.diagnose.structures import Mark, Shown

from .helpers import box, make_records


def write_coco(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(records.to_coco()))


@pytest.fixture(scope="module")
def data():
    return {name: shapes(split=name, seed=0, num_images=n, class_ratio=8.0) for name, n in (("train", 10), ("val", 4))}


def test_the_function_and_its_forms(data, tmp_path):
    diagnosis = imbdet.diagnose(data, imbdet.load_config("baselines/retinanet_shapes"), name="my shapes")
    assert set(diagnosis.sections) == set(SECTIONS) - {"run"} and set(diagnosis.missing) == {"run"}
    numbers = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert numbers["splits"]["train"]["images"] == 10
    text = diagnosis.html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text
    for title in SECTIONS.values():
        assert f". {title}</h2>" in text
    assert "<script" not in text and "http://" not in text.replace("http://www.w3.org", "")
    assert text.count("<svg") > 20 and "data:image/jpeg" in text
    assert diagnosis._repr_html_().startswith("<iframe") and "srcdoc" in diagnosis._repr_html_()


def test_the_command_writes_both_files(data, tmp_path, capsys):
    write_coco(tmp_path / "instances_train.json", data["train"])
    write_coco(tmp_path / "instances_val.json", data["val"])
    assert main(["diagnose", str(tmp_path), "--out", str(tmp_path / "out"), "--no-pictures"]) == 0
    out = capsys.readouterr().out
    assert "train: 10 images" in out and "report.html" in out
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    counts = {row["name"]: row["boxes"]["train"] for row in numbers["sections"]["classes"]["rows"]}
    assert sum(counts.values()) == int((~data["train"].crowd).sum())
    assert numbers["sections"]["overlap"]["no_duplicates"].startswith("Pictures were not read")
    assert "--config" in numbers["missing"]["iou"]
    assert (tmp_path / "out" / "report.html").stat().st_size > 20_000


def test_pictures_that_are_not_there_are_said(data, tmp_path):
    write_coco(tmp_path / "instances_train.json", data["train"])
    diagnosis = imbdet.diagnose(str(tmp_path))
    assert "No picture was found" in diagnosis.sections["overlap"]["no_duplicates"]
    assert "No picture was found" in diagnosis.html() and "no val or test split" in diagnosis.html()


def test_names_are_escaped():
    evil = "<script>alert('&\"')</script>"
    records = make_records([[box(0), box(1)], [box(1)]] * 6, classes=(evil, "b"))
    records.images.name = lambda index: f"{evil}{index}.jpg"
    text = imbdet.diagnose(records, name=evil).html()
    assert "<script" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("images", "classes", "missing"),
    [([[], []], ("a", "b"), {"classes", "size", "place", "overlap"}), ([[box(0)]] * 3, ("a",), set())],
    ids=["no boxes", "one class"],
)
def test_little_data_has_a_page_that_says_so(images, classes, missing):
    diagnosis = imbdet.diagnose(make_records(images, classes=classes), read_pictures=False)
    assert missing | {"foreground", "iou", "regression", "run"} <= set(diagnosis.missing) | {"advice"}
    assert set(diagnosis.missing) | set(diagnosis.sections) == set(SECTIONS)
    assert diagnosis.html()


def test_mistakes_are_one_line(tmp_path, capsys, data):
    assert main(["diagnose", str(tmp_path / "none")]) == 2
    assert main(["diagnose", str(tmp_path)]) == 2
    (tmp_path / "train.json").write_text("{")
    assert main(["diagnose", str(tmp_path / "train.json")]) == 2
    write_coco(tmp_path / "d" / "instances_train.json", data["train"])
    assert main(["diagnose", str(tmp_path / "d"), "--run", str(tmp_path / "run"), "--no-pictures"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 4 and all("error:" in line for line in lines), lines
    with pytest.raises(SystemExit):
        main(["diagnose"])


def test_inputs_of_all_kinds(tmp_path, data):
    write_coco(tmp_path / "train.json", data["train"])
    write_coco(tmp_path / "my_test.json", data["val"])
    splits = read_paths([str(tmp_path / "train.json"), str(tmp_path / "my_test.json")])
    assert list(splits) == ["train", "test"] and splits["test"].num_objects == data["val"].num_objects
    assert list(as_splits(data["val"])) == [data["val"].name]
    with pytest.raises(ValueError, match="different classes"):
        as_splits({"train": make_records([[box(0)]]), "val": make_records([[box(0)]], classes=("a", "x", "c"))})
    for wrong in ({}, 3, {"train": "x"}):
        with pytest.raises(ValueError, match="dict of Records"):
            as_splits(wrong)


def test_plain_turns_all_that_json_lacks():
    value = plain(
        {"a": np.int64(3), "b": np.array([1.5, np.inf]), 4: (np.float32(2), float("nan")), "c": np.bool_(True)}
    )
    assert value == {"a": 3, "b": [1.5, None], "4": [2.0, None], "c": True}


def test_plots_have_titles_axes_and_values():
    drawn = svg.bars("Boxes <per> class", ["a & b", "c"], {"train": [3, None], "val": [1, 2]}, "boxes", log=True)
    assert "Boxes &lt;per&gt; class" in drawn and "a &amp; b, train: 3 boxes" in drawn and "boxes (log scale)" in drawn
    assert drawn.count("<rect") == 2 + 3  # two keys, three bars
    assert svg.bars("none", [], {"train": []}, "boxes") == "" and svg.lines("none", {}, "x", "y") == ""
    drawn = svg.histogram("Sizes", [1, 10, 100], {"all": [0, 4]}, "pixels", "objects", log=True)
    assert "4 between 10 and 100 pixels" in drawn and "objects" in drawn
    heat = svg.heat("a", np.eye(4))
    assert heat.count('class="heat"') == 4 and "x / width" in heat and svg.heat("a", np.zeros((4, 4))) == ""
    shown = svg.picture(
        Shown("data:,", 100, 50, 'a "caption"', (Mark(1, 2, 3, 4, "cat", "odd"), Mark(5, 6, 7, 8, "dog")))
    )
    assert "&quot;caption&quot;" in shown and shown.index("dog") < shown.index("cat</title>")  # the odd one lies above


def test_bars_keep_their_scale():
    """Linear: 10 is twice as long as 5. The longest ends where the axis ends."""
    import re

    drawn = svg.bars("t", ["a", "b"], {"x": [5, 10]}, "u")
    widths = [float(w) for w in re.findall(r'<rect class="c1"[^>]* width="([\d.]+)"', drawn)]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)


def test_records_with_an_image_twice_still_work():
    records = make_records([[box(0), box(1)]])
    assert (
        imbdet.diagnose(replace(records.subset([0, 0]), name="train"), read_pictures=False).splits["train"]["boxes"]
        == 4
    )
