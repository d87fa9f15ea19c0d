"""The demo: trained once, reported again when it is there, trained anew when its config is another."""

import re

import pytest

from imbdet.commands import demo, run
from imbdet.config import load_config, save_config

SMALL = [
    "data.train.image_size=64",
    "data.val.image_size=64",
    "data.train.num_images=16",
    "data.val.num_images=6",
    "train.eval_period=0",
    "train.tensorboard=false",
]
SMALL += ["dataloader.train.num_workers=0", "dataloader.val.num_workers=0", "train.num_threads=1"]
SMALL += ["dataloader.train.batch_size=2", "model.backbone.widths=[8,8,16,16,16]", "model.neck.channels=16"]


@pytest.fixture
def words(tmp_path):
    return [*SMALL, f"train.output_dir={tmp_path / 'demo'}"]


def test_demo_is_trained_once_then_reported_and_another_config_is_noticed(words, tmp_path, capsys):
    folder = tmp_path / "demo"
    assert run("demo", [*words, "train.max_iter=2"]) == 0
    out = capsys.readouterr().out
    assert "Time: training" in out and f"Report: {folder / 'report.html'}" in out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<image ") == 6 and re.search(r"train.max_iter: \d+ -&gt; 2", page)

    weights = (folder / "last.pth").read_bytes()
    (folder / "report.html").unlink()
    assert run("demo", [*words, "train.max_iter=2"]) == 0
    out = capsys.readouterr().out
    assert "not trained again" in out and "AP50" in out and "training" not in out.split("Time:")[1]
    assert (folder / "report.html").is_file() and (folder / "last.pth").read_bytes() == weights

    other = load_config(demo.CONFIG, overrides=[*words, "train.max_iter=1"])
    assert demo.state_of(folder, other) == "absent"
    assert "trained anew (train.max_iter: 2 -> 1)" in capsys.readouterr().out


def test_interrupted_demo_goes_on(words, tmp_path, monkeypatch, capsys):
    from imbdet.engine.stop import Interrupted

    def interrupted(cfg, resume):
        raise Interrupted(2, 1)

    with monkeypatch.context() as patch:
        patch.setattr(demo, "train", interrupted)
        assert run("demo", words) == 130
    assert "the same command goes on" in capsys.readouterr().out

    folder = tmp_path / "demo"
    folder.mkdir()
    cfg = load_config(demo.CONFIG, overrides=words)
    assert demo.state_of(folder, cfg) == "absent"
    save_config(cfg, folder / "config.yaml")
    assert demo.state_of(folder, cfg) == "begun"
    (folder / "result.json").write_text('{"iteration": ')
    assert demo.state_of(folder, cfg) == "begun"
