"""A training with adversaries: each phase leaves alone what rests, resumes bit for bit, and runs on two processes."""

import shutil

import pytest
import torch

from imbdet.config import LazyCall as L
from imbdet.config import load_config, save_config
from imbdet.data.augment import ResizeShortestEdge
from imbdet.data.datasets.folder import coco_folder
from imbdet.engine import train
from imbdet.engine.checkpoint import load_file
from imbdet.engine.log import read_metrics
from imbdet.remedies.class_fg_bg._adversary import Phases
from tests.modeling.adversaries import DROPOUT, TRANSFORMER, parts_of, shrink

from .test_distributed import run_two
from .test_resume import compare

MINE = "roi_heads.region_features."


def config(root, output, **settings):
    """Both adversaries on the tiny set: iterations 1 and 2 the detector, 3 and 4 the adversaries, 5 and 6 both."""
    cfg = load_config("baselines/faster_rcnn_shapes", [DROPOUT, TRANSFORMER])
    shrink(cfg)
    for part in parts_of(cfg):
        part.phases.detector, part.phases.adversary = 2, 2
    for split in ("train", "val", "test"):
        cfg.data[split] = L(coco_folder)(root=str(root), split=split)
    resize = L(ResizeShortestEdge)(short_edge_length=64, max_size=96)
    cfg.dataloader.train.update(batch_size=4, num_workers=0)
    cfg.dataloader.train.augment.transforms[0] = resize
    cfg.dataloader.val.update(batch_size=4, num_workers=0, resize=resize)
    cfg.train.update(max_iter=6, eval_period=0, log_period=3, output_dir=str(output), device="cpu", num_threads=1)
    cfg.train.update(checkpointer=dict(period=1, max_to_keep=9), ema=dict(enabled=True, decay=0.9))
    cfg.train.update(val_loss_batches=1, val_pictures=0, tensorboard=False, **settings)
    return cfg


def test_phases():
    """Shares of 60 iterations: 12, 6, the rest; two batches an iteration."""
    phases = Phases(0.2, 0.1, total=60, accumulate=2)
    names = []
    for _ in range(50):
        phases.begin_batch()
        names.append("a" if phases.alone else "j" if phases.begun else "d")
    assert "".join(names) == "d" * 24 + "a" * 12 + "j" * 14
    again = Phases(0.2, 0.1, total=60, accumulate=2)
    again.load_state_dict(phases.state_dict())
    assert again.batches == 50 and not again.alone and again.begun
    assert [p.detector + p.adversary for p in (Phases(3, 4), Phases(0.5, 4, total=10))] == [7, 9]
    with pytest.raises(ValueError, match="`total` is needed"):
        Phases(0.5)
    with pytest.raises(ValueError, match="more than all of it"):
        Phases(0.6, 0.5, total=10)
    with pytest.raises(ValueError, match="accumulate >= 1"):
        Phases(1, 1, accumulate=0)


@pytest.fixture(scope="module")
def whole(tiny_coco, tmp_path_factory):
    """The run that nothing happened to, with the state after each iteration."""
    folder = tmp_path_factory.mktemp("whole")
    train(config(tiny_coco, folder))
    return folder


def states(folder):
    return [load_file(folder / f"model_{k:07d}.pth")["model"] for k in range(1, 7)]


def changed(before, after):
    names = {name for name, value in after.items() if not torch.equal(value, before[name])}
    return {name for name in names if not name.endswith("_extra_state")}


def test_who_moves_in_which_phase(whole):
    """Parameters and running statistics of the detector, weight decay included."""
    first, second, third, fourth, fifth, _ = states(whole)
    detector = changed(first, second)
    assert detector and not any(name.startswith(MINE) for name in detector)
    adversary = changed(second, third) | changed(third, fourth)
    assert {name.split(".")[3] for name in adversary} == {"0", "1"}
    assert all(name.startswith(MINE) for name in adversary)
    assert detector <= changed(fourth, fifth)  # the mask network only if a mask did harm
    assert [int(state[f"{MINE}parts.0.phases._extra_state"]) for state in states(whole)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("after", [1, 3, 5], ids=["detector", "adversary", "joint"])
def test_resumed_in_each_phase_bit_for_bit(tiny_coco, whole, tmp_path, after):
    shutil.copy(whole / f"model_{after:07d}.pth", tmp_path / "last.pth")
    train(config(tiny_coco, tmp_path), resume=True)
    a, b = load_file(tmp_path / "last.pth"), load_file(whole / "last.pth")
    for part in ("model", "optimizer", "ema", "rng", "iteration"):
        compare(a[part], b[part], part)


def test_an_evaluation_moves_no_phase(tiny_coco, whole, tmp_path):
    """With an evaluation, validation losses included, after every iteration, the same weights."""
    train(config(tiny_coco, tmp_path, eval_period=1))
    compare(load_file(tmp_path / "last.pth")["model"], load_file(whole / "last.pth")["model"], "model")
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if line["split"] == "val"]
    assert all({"loss/dropout", "loss/transformer", "loss/rpn_cls"} <= line.keys() for line in lines)
    assert ["roi/dropout/after" in line for line in lines] == [False] * 2 + [True] * 4


def test_reports_over_the_border_of_two_phases(whole):
    """The mean of three iterations, one of which is the adversaries'."""
    lines = [line for line in read_metrics(whole / "metrics.jsonl") if line["split"] == "train"]
    assert [line["iteration"] for line in lines] == [3, 6] and lines[0]["loss/dropout"] > 0
    assert {"roi/dropout/before", "roi/dropout/found", "roi/transformer/angle"} <= lines[0].keys()
    assert {"roi/dropout/harmful", "roi/transformer/before", "roi/transformer/after"} <= lines[1].keys()


def test_two_batches_an_iteration(tiny_coco, tmp_path):
    train(config(tiny_coco, tmp_path, accumulate=2, max_iter=4))
    batches = load_file(tmp_path / "last.pth")["model"][f"{MINE}parts.0.phases._extra_state"]
    assert batches == 8
    second, third, fourth = (load_file(tmp_path / f"model_{k:07d}.pth")["model"] for k in (2, 3, 4))
    assert all(name.startswith(MINE) for name in changed(second, third) | changed(third, fourth))


@pytest.mark.slow
def test_two_processes(tiny_coco, tmp_path):
    """Gloo, with parameters that get no gradient in every phase: replicas stay equal, and the detector rests."""
    save_config(config(tiny_coco, tmp_path / "two"), tmp_path / "two.yaml")
    run_two(tmp_path / "two.yaml")
    first, second = (torch.load(tmp_path / "two" / f"rank{rank}.pth", weights_only=True) for rank in range(2))
    weights = [name for name in first if "running" not in name and "tracked" not in name]
    assert all(torch.equal(first[name], second[name]) for name in weights)
    after = states(tmp_path / "two")
    assert all(name.startswith(MINE) for name in changed(after[1], after[3]))
    assert {name.split(".")[3] for name in changed(after[1], after[3])} == {"0", "1"}
    assert any(not name.startswith(MINE) for name in changed(after[3], after[4]))
