import os
import signal

import pytest

from imbdet.commands import run
from imbdet.commands.train import default_output_dir, resume_command
from imbdet.config import load_config, save_config
from imbdet.engine.checkpoint import load_file
from tests.engine.fakes import FakeDetector, fake_config


@pytest.fixture
def config(tmp_path):
    """A config file of the engine's fakes, and the folder that its run writes."""
    save_config(fake_config(tmp_path / "run"), tmp_path / "fake.yaml")
    return ["--config", str(tmp_path / "fake.yaml")], tmp_path / "run"


def test_the_difference_is_printed_and_nothing_else(config, capsys):
    words, folder = config
    assert run("train", [*words, "--print", "train.max_iter=3"]) == 0
    assert capsys.readouterr().out == "train.max_iter: 12 -> 3\n"
    assert run("train", [*words, "--print"]) == 0
    assert capsys.readouterr().out == "no difference\n"
    assert not folder.exists()


def test_a_run_says_what_it_changed_and_where_things_are(config, capsys):
    words, folder = config
    assert run("train", [*words, "train.max_iter=3"]) == 0
    out = capsys.readouterr().out
    assert "changed:\n  train.max_iter: 12 -> 3\n" in out and f"{folder}/last.pth" in out
    assert f"tensorboard --logdir {folder}" in out


@pytest.mark.parametrize(("word", "folder"), [([], "output/fake"), (["train.output_dir=output/run"], "output/run")])
def test_a_folder_that_was_named_is_taken_though_it_is_the_default(config, monkeypatch, tmp_path, word, folder):
    monkeypatch.chdir(tmp_path)
    save_config(fake_config("output/run"), tmp_path / "fake.yaml")
    assert run("train", [*config[0], *word, "train.max_iter=1"]) == 0
    assert (tmp_path / folder / "last.pth").is_file()


def test_a_run_is_continued_from_its_folder(config, monkeypatch, capsys):
    """Ctrl-C in the third step; then --config RUN --resume."""
    words, folder = config
    plain, calls = FakeDetector.forward, []

    def forward(self, images, targets=None):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, images, targets)

    monkeypatch.setattr(FakeDetector, "forward", forward)
    assert run("train", words) == 130
    assert "continue with: " in capsys.readouterr().out
    assert run("train", ["--config", str(folder), "--resume"]) == 0
    assert load_file(folder / "last.pth")["iteration"] == 12 and len(calls) == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.max_iters=3"], "max_iter"),
        (["train.max_iter=0"], "train.max_iter is 0; it must be 1 or more"),
        (["train.output_dir=/dev/null/x"], "cannot write /dev/null/x: Not a directory"),
        (["train.init_checkpoint=none.pth"], "no checkpoint at none.pth"),
        (["model.poison_at=2"], "the loss is not finite at iteration 2"),
    ],
)
def test_a_mistake_is_one_message_and_code_2(config, capsys, words, message):
    assert run("train", [*config[0], *words]) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_the_folder_is_named_after_config_and_remedies():
    class Arguments:
        config = "configs/baselines/faster_rcnn_shapes.py"

    cfg = load_config(Arguments.config)
    assert default_output_dir(Arguments, cfg) == "output/faster_rcnn_shapes"
    cfg.remedies = ["class_fg_bg/focal_loss", "ohem"]
    assert default_output_dir(Arguments, cfg) == "output/faster_rcnn_shapes+focal_loss+ohem"


def test_the_command_to_continue(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr("sys.argv", ["tools/train.py", "--config", "a b"])
    assert resume_command(None) == "python tools/train.py --config 'a b' --resume"
    monkeypatch.setattr("sys.argv", ["/usr/bin/imbdet", "train"])
    assert resume_command(["--config", "a", "--resume"]) == "imbdet train --config a --resume"
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("sys.argv", ["tools/train.py", "--config", "a"])
    assert (
        resume_command(None) == "python -m torch.distributed.run --nproc-per-node 2 tools/train.py --config a --resume"
    )


def test_a_training_without_loaders_is_one_line(config, capsys):
    assert run("train", [*config[0], "dataloader=null"]) == 2
    assert "dataloader is null; a training needs dataloader.train" in capsys.readouterr().err
