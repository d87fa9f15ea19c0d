"""Evaluation during training, on the tiny set on disk."""

import os
import signal

import pytest
import torch

from imbdet.config import LazyCall as L
from imbdet.config import apply_overrides
from imbdet.data.datasets.folder import coco_folder
from imbdet.data.loader import EvalLoader
from imbdet.engine import train
from imbdet.engine.checkpoint import load_file
from imbdet.engine.log import read_metrics
from imbdet.engine.stop import Interrupted
from imbdet.engine.validation import draw_boxes, is_better, metric_of, observing, targets_of

from .fakes import FakeDetector, fake_config


@pytest.fixture
def config(tiny_coco):
    """The fake detector, trained on noise and evaluated on the tiny set."""

    def make(output_dir, *overrides):
        cfg = fake_config(output_dir)
        cfg._set_flag("struct", False)
        cfg.data = dict(val=L(coco_folder)(root=str(tiny_coco), split="val"))
        cfg.dataloader.val = L(EvalLoader)(records="${data.val}", batch_size=2, num_workers=0)
        cfg._set_flag("struct", True)
        apply_overrides(cfg, ["train.max_iter=8", *overrides])
        return cfg

    return make


def test_evaluation_leaves_no_trace_in_the_training(tmp_path, config):
    train(config(tmp_path / "with", "train.eval_period=2", "train.best_metric=loss/total"))
    train(fake_config(tmp_path / "without", "train.max_iter=8"))
    a, b = load_file(tmp_path / "with" / "last.pth"), load_file(tmp_path / "without" / "last.pth")
    assert all(torch.equal(a["model"][name], b["model"][name]) for name in b["model"])
    assert torch.equal(a["rng"][0]["torch"], b["rng"][0]["torch"])


def test_what_an_evaluation_writes(tmp_path, config):
    result = train(config(tmp_path, "train.eval_period=4", "train.best_metric=loss/total", "train.tensorboard=true"))
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if line["split"] == "val"]
    assert [line["iteration"] for line in lines] == [4, 8]
    assert {"AP/AP", "AP/AP50", "AR/AR100", "AP_per_class/disc", "loss/total", "loss/box"} <= lines[0].keys()
    best = min(lines, key=lambda line: line["loss/total"])
    assert result["best"] == {"value": best["loss/total"], "iteration": best["iteration"]}
    assert set(result["metrics"]) >= {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs"}
    kept, last = load_file(tmp_path / "best.pth"), load_file(tmp_path / "last.pth")
    assert kept["iteration"] == best["iteration"] == 8  # of the average weights, as the run has an EMA
    assert torch.equal(kept["model"]["head.weight"], last["ema"]["shadow"]["head.weight"])
    assert not torch.equal(kept["model"]["head.weight"], last["model"]["head.weight"])
    assert any((tmp_path / "tb" / "val").iterdir())


def test_a_finished_run_is_evaluated_again_on_resume(tmp_path, config):
    first = train(config(tmp_path))
    again = train(config(tmp_path), resume=True)
    assert again["metrics"] == first["metrics"] and again["best"] == first["best"]
    lines = [(line["iteration"], line["split"]) for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert len(lines) == len(set(lines))


def test_a_signal_gives_an_evaluation_up_and_a_resume_makes_it(tmp_path, config, monkeypatch):
    """SIGTERM in the second batch of the evaluation after iteration 4."""
    train(config(tmp_path / "whole", "train.eval_period=4"))
    plain, calls = FakeDetector.forward, []

    def forward(self, images, targets=None):
        calls.append(self.training)
        if calls.count(False) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, images, targets)

    monkeypatch.setattr(FakeDetector, "forward", forward)
    with pytest.raises(Interrupted) as stopped:
        train(config(tmp_path / "stopped", "train.eval_period=4"))
    assert stopped.value.code == 143 and stopped.value.iteration == 4
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    train(config(tmp_path / "stopped", "train.eval_period=4"), resume=True)
    a, b = (load_file(tmp_path / name / "last.pth") for name in ("whole", "stopped"))
    assert a["best"] == b["best"] and all(torch.equal(a["model"][n], b["model"][n]) for n in a["model"])
    lines = read_metrics(tmp_path / "stopped" / "metrics.jsonl")
    assert [line["iteration"] for line in lines if line["split"] == "val"] == [4, 8]


def test_early_stopping(tmp_path, config, capsys):
    """AP of noise stays 0: the first evaluation is the best, and two more without a better one end the run."""
    result = train(config(tmp_path, "train.eval_period=1", "train.early_stopping.patience=2", "train.val_pictures=0"))
    assert result["iteration"] == 3 and result["best"]["iteration"] == 1
    assert "early stop: 2 evaluations without a better AP" in capsys.readouterr().out
    again = config(tmp_path, "train.eval_period=1", "train.early_stopping.patience=2", "train.val_pictures=0")
    assert train(again, resume=True)["iteration"] == 3


def test_a_mistyped_metric_is_refused_before_the_first_step(tmp_path, config):
    with pytest.raises(ValueError, match="train.best_metric is 'AP500', .* did you mean 'AP50'"):
        train(config(tmp_path, "train.best_metric=AP500"))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_metric_by_name():
    scalars = {"AP/AP": 0.5, "AP_per_class/disc": 0.1, "loss/total": 2.0}
    assert [metric_of(scalars, name) for name in ("AP", "disc", "loss/total", "APl")] == [0.5, 0.1, 2.0, None]
    assert is_better("AP", 0.6, 0.5) and not is_better("AP", 0.5, 0.5) and is_better("AP", 0.0, None)
    assert is_better("loss/total", 1.0, 2.0) and not is_better("loss/total", 3.0, 2.0)


def test_observing_changes_nothing():
    model = FakeDetector()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = [torch.full((3, 16, 16), 255, dtype=torch.uint8)] * 2
    with observing(model), torch.no_grad():
        losses, _ = model(images, [{"boxes": torch.rand(1, 4)}] * 2)
        model.norm.running_mean.add_(1.0)  # as a loss that keeps a moving normalizer would
    assert set(losses) == {"loss_box", "loss_size"}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_targets_are_scaled_with_the_image(tiny_coco):
    records = coco_folder(root=str(tiny_coco), split="val")
    height, width = int(records.heights[0]), int(records.widths[0])
    info = {"image_id": int(records.image_ids[0]), "height": height, "width": width}
    image = torch.zeros(3, 3 * height, 2 * width, dtype=torch.uint8)
    (target,) = targets_of(records, [info], [image])
    assert torch.equal(target["boxes"], records.target(0)["boxes"] * torch.tensor([2.0, 3.0, 2.0, 3.0]))


def test_drawing():
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    target = {"boxes": torch.tensor([[2.0, 2, 30, 30]])}
    found = {
        "boxes": torch.tensor([[5.0, 5, 35, 35], [0, 0, 9, 9]]),
        "scores": torch.tensor([0.9, 0.1]),
        "labels": torch.tensor([0, 0]),
    }
    picture = draw_boxes(image, target, found, ("disc",))
    assert picture[:, 2, 15].tolist() == [40, 200, 60] and picture[:, 35, 20].tolist() == [255, 140, 0]
    assert picture[:, 9, 3].sum() == 0  # the prediction of score 0.1 is not drawn
    empty = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
    assert torch.equal(draw_boxes(image, {"boxes": torch.zeros(0, 4)}, empty, ("disc",)), image)
