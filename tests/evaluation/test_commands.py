"""`imbdet evaluate` and `imbdet predict`, as a user types them."""

import json
import subprocess
import sys

import pytest
import torch
from PIL import Image

import imbdet
from benchmarks.evaluation import METRICS
from imbdet import testing
from imbdet.commands import run

from .cases import perfect, truth, write_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny_coco):
    return write_run(tmp_path_factory.mktemp("runs") / "first", tiny_coco)


@pytest.fixture
def files(tmp_path):
    document = truth(boxes=8)
    (tmp_path / "gt.json").write_text(json.dumps(document))
    (tmp_path / "results.json").write_text(json.dumps(perfect(document)[:-1]))
    return tmp_path


def test_a_results_file_without_a_model(files, capsys):
    arguments = ["--annotations", f"{files}/gt.json", "--results", f"{files}/results.json"]
    assert run("evaluate", [*arguments, "--out", f"{files}/new/metrics.json"]) == 0
    written = json.loads((files / "new/metrics.json").read_text())
    expected = imbdet.evaluation.evaluate_coco(files / "gt.json", files / "results.json")
    assert {key: written[key] for key in METRICS} == {key: expected[key] for key in METRICS}
    assert {row["name"] for row in written["per_class"]} == {"class 0", "class 1"}
    assert written["groups"] is None and written["evaluator"]["name"] == "hotcoco"
    shown = capsys.readouterr().out
    assert "hotcoco" in shown and "maxDets 1/10/100" in shown and f"{100 * expected['AP']:.2f}" in shown


def test_train_annotations_make_the_groups(files, capsys):
    arguments = ["--annotations", f"{files}/gt.json", "--results", f"{files}/results.json"]
    run("evaluate", [*arguments, "--train-annotations", f"{files}/gt.json", "--out", f"{files}/metrics.json"])
    written = json.loads((files / "metrics.json").read_text())
    assert written["per_class"][0]["train_boxes"] == 4 and "terciles" in written["groups"]["rule"]
    assert "terciles" in capsys.readouterr().out


def test_what_is_not_needed_is_not_loaded(files):
    """`import imbdet`, its config part and its reports bring nothing heavy besides torch; a file of results is
    evaluated without detectors and their libraries.
    """
    heavy = ("matplotlib", "tensorboard", "hotcoco", "pycocotools", "timm", "scipy", "jinja2", "torchvision")
    code = (
        f"import sys, imbdet, imbdet.config, imbdet.report; first = [m for m in {heavy!r} if m in sys.modules];"
        "from imbdet.commands import run;"
        f"run('evaluate', ['--annotations', r'{files}/gt.json', '--results', r'{files}/results.json']);"
        "loaded = [m for m in sys.modules if m.startswith(('imbdet.modeling', 'timm', 'matplotlib', 'tensorboard'))];"
        "sys.exit(str((first, loaded)) if first or loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_warning_is_printed_once_below_the_tables(files, capsys, recwarn):
    (files / "results.json").write_text("[]")
    assert run("evaluate", ["--annotations", f"{files}/gt.json", "--results", f"{files}/results.json"]) == 0
    assert capsys.readouterr().out.count("no detection at all") == 1
    assert not [w for w in recwarn if "detection" in str(w.message)]


@pytest.mark.filterwarnings("ignore::imbdet.evaluation.result.EvaluationWarning")
def test_a_run(finished, tmp_path, capsys, tiny_coco):
    """The detector's boxes: left half of each picture. What is saved gives the same numbers again."""
    arguments = ["--run", str(finished), "--out", f"{tmp_path}/m.json", "--save-detections", f"{tmp_path}/d.json"]
    assert run("evaluate", [*arguments, "--split", "test"]) == 0
    written = json.loads((tmp_path / "m.json").read_text())
    rows = json.loads((tmp_path / "d.json").read_text())
    sizes = {i["id"]: i for i in json.loads((tiny_coco / "instances_test.json").read_text())["images"]}
    assert len(rows) == len(sizes) and {row["category_id"] for row in rows} == {1}
    for row in rows:
        size = sizes[row["image_id"]]
        assert row["bbox"] == pytest.approx([0, 0, size["width"] / 2, size["height"]])
    again = imbdet.evaluation.evaluate_coco(tiny_coco / "instances_test.json", rows, tiny_coco / "instances_train.json")
    assert {key: written[key] for key in again.metrics} == again.metrics
    assert written["groups"] == again.groups and written["per_class"] == again.per_class
    assert "best.pth" in capsys.readouterr().out
    assert imbdet.evaluate(imbdet.load_config(finished), finished / "best.pth", "test")["AP"] == written["AP"]


def test_overrides_and_a_config_with_checkpoint(finished, tmp_path):
    base = ["--config", str(finished), "--checkpoint", f"{finished}/best.pth"]
    assert run("evaluate", [*base, "model.label=2", "--save-detections", f"{tmp_path}/d.json"]) == 0
    assert {row["category_id"] for row in json.loads((tmp_path / "d.json").read_text())} == {7}


def test_last_weights_where_there_are_no_best(tmp_path, tiny_coco, capsys):
    folder = write_run(tmp_path / "run", tiny_coco)
    assert run("evaluate", ["--run", str(folder), "--which", "last"]) == 2
    assert "holds no last.pth; it has best.pth" in capsys.readouterr().err
    (folder / "best.pth").rename(folder / "last.pth")
    assert run("evaluate", ["--run", str(folder)]) == 0
    assert "last.pth" in capsys.readouterr().out


def test_a_checkpoint_of_another_model(tmp_path, tiny_coco, capsys):
    folder = write_run(tmp_path / "run", tiny_coco)
    torch.save({"model": {"share": torch.zeros(3), "other": torch.zeros(1)}}, folder / "best.pth")
    assert run("evaluate", ["--run", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "share" in told and "other" in told and "Guess" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of --run"),
        (["--run", "a", "--annotations", "b", "--results", "c"], "not --run and --annotations together"),
        (["--config", "a"], "needs --checkpoint"),
        (["--run", "a", "--checkpoint", "b"], "--checkpoint goes with --config"),
        (["--annotations", "a"], "go together"),
        (["--annotations", "a", "--results", "b", "--save-detections", "c"], "has no meaning with --annotations"),
        (["--run", "a", "--max-dets", "1,x"], "--max-dets is '1,x'"),
        (["--run", "a", "--split", "train"], "invalid choice"),
    ],
)
def test_arguments_that_contradict(arguments, said, capsys):
    with pytest.raises(SystemExit) as left:
        run("evaluate", arguments)
    assert left.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("verb", (["evaluate"], ["predict", "x.jpg"]))
def test_a_run_that_is_not_there(verb, tmp_path, capsys, finished, tiny_coco):
    pictures = [f"{tiny_coco}/images/val"] if verb[0] == "predict" else []
    assert run(verb[0], ["--run", f"{tmp_path}/nothing", "--out" if pictures else "--split", "val", *pictures]) == 2
    assert "no run at" in capsys.readouterr().err
    assert run(verb[0], ["--run", str(finished.parent), "--out" if pictures else "--split", "val", *pictures]) == 2
    assert f"there are runs at {finished}" in capsys.readouterr().err


def test_predict_draws_and_writes(finished, tmp_path, capsys, tiny_coco):
    folder = tiny_coco / "images" / "val"
    single = tmp_path / "val_0.png"
    Image.new("RGB", (100, 50), (10, 20, 30)).save(single)
    arguments = ["--run", str(finished), str(single), str(folder), f"{folder}/*_1.jpg", "--out", f"{tmp_path}/out"]
    assert run("predict", arguments) == 0
    document = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [i["file_name"] for i in document["images"]] == [str(single), *(f"{folder}/val_{k}.jpg" for k in range(4))]
    drawn = [i["drawn"] for i in document["images"]]
    assert drawn[:2] == ["val_0.jpg", "val_0_2.jpg"] and all((tmp_path / "out" / name).is_file() for name in drawn)
    first = document["annotations"][0]
    assert first["bbox"] == pytest.approx([0, 0, 50, 50]) and first["score"] == 0.75
    assert (first["category_id"], first["category_name"]) == (1, "disc")
    with Image.open(tmp_path / "out" / "val_0.jpg") as picture:
        assert picture.size == (100, 50)
        assert max(picture.getpixel((50, 40))) > 90 and max(picture.getpixel((80, 40))) < 60  # the box's right edge
    assert "5 objects of score >= 0.5 in 5 pictures" in capsys.readouterr().out


def test_predict_threshold_and_overrides(finished, tmp_path, tiny_coco):
    arguments = ["--run", str(finished), f"{tiny_coco}/images/val/val_0.jpg", "--out", str(tmp_path)]
    assert run("predict", [*arguments, "--threshold", "0.8"]) == 0
    assert json.loads((tmp_path / "predictions.json").read_text())["annotations"] == []
    assert run("predict", [*arguments, "model.label=2"]) == 0
    assert json.loads((tmp_path / "predictions.json").read_text())["annotations"][0]["category_name"] == "rare box"


def test_predict_goes_on_after_an_unreadable_picture(finished, tmp_path, capsys, tiny_coco):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    good = tiny_coco / "images" / "val" / "val_0.jpg"
    words = [str(broken), f"{tmp_path}/missing.jpg", str(good)]
    assert run("predict", ["--run", str(finished), *words, "--out", f"{tmp_path}/out"]) == 1
    told = capsys.readouterr().err
    assert "broken.jpg: cannot be read" in told and "missing.jpg: no such file" in told
    document = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [i["file_name"] for i in document["images"]] == [str(good)]


def test_predict_without_any_picture(finished, tmp_path, capsys):
    assert run("predict", ["--run", str(finished), str(tmp_path)]) == 2
    assert "no picture to look at" in capsys.readouterr().err


def test_tiles_of_predict_and_evaluate(tmp_path, capsys, tiny_coco):
    """One tile as large as the picture is no tiling; smaller ones find the same kind of things in more places."""
    small = [*testing.SMALL, "model.score_threshold=0.0", "data.val.num_images=2", "dataloader.val.num_workers=0"]
    words = ["--config", "baselines/retinanet_shapes", *small]
    model = testing.tiny_detector("retinanet")
    torch.save(model.state_dict(), tmp_path / "w.pth")
    words += ["--checkpoint", f"{tmp_path}/w.pth"]
    found = {}
    for tiles in ("", "1", "0.6"):
        more = ["--tiles", tiles] if tiles else []
        out = f"{tmp_path}/out{tiles}"
        seen = ["--threshold", "0", f"{tiny_coco}/images/val/val_0.jpg", "--out", out]
        with pytest.warns(UserWarning, match="was written before"):
            assert run("predict", [*words, *more, *seen]) == 0
            assert run("evaluate", [*words, *more, "--save-detections", f"{out}.json"]) == 0
        saved = json.loads((tmp_path / f"out{tiles}.json").read_text())
        found[tiles] = json.loads((tmp_path / f"out{tiles}/predictions.json").read_text())["annotations"], saved
    assert found["1"] == found[""] and len(found[""][0]) and found["0.6"][0] != found[""][0]
    assert len(found["0.6"][1]) >= len(found[""][1]) > 0
    with pytest.raises(SystemExit):
        run("predict", [*words, "--tiles", "0", "x.jpg"])
    assert "must be above 0" in capsys.readouterr().err
