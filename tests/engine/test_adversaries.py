"""A training with adversaries: each phase leaves alone what rests, resumes bit for bit, and runs on two processes."""

import json
import os
import shutil
import signal

import pytest
import torch

from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config, save_config
from imbdet.data.augment import ResizeShortestEdge
from imbdet.data.datasets.folder import coco_folder
from imbdet.engine import train
from imbdet.engine.adversaries import Adversaries
from imbdet.engine.checkpoint import load_file
from imbdet.engine.log import read_metrics
from imbdet.modeling.detectors import FasterRCNN
from imbdet.remedies.class_fg_bg._adversary import Phases
from imbdet.remedies.class_fg_bg.adversarial_spatial_dropout import AdversarialSpatialDropout, MaskNetwork
from tests.helpers import run_two
from tests.modeling.adversaries import DROPOUT, TRANSFORMER, C, K, S, parts_of, shrink, some_regions, stage

from .fakes import compare, numbers

MINE = "roi_heads.region_features."
SPLITS = ("train", "adversary")


def config(root, output, **settings):
    """Both adversaries on the tiny set: iterations 1 and 2 the detector alone, then 3 steps of the adversaries, then
    iterations 3 to 6 both.
    """
    cfg = load_config("baselines/faster_rcnn_shapes", [DROPOUT, TRANSFORMER])
    shrink(cfg)
    for part in parts_of(cfg):
        part.phases.detector, part.phases.adversary = 2, 3
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
    """Shares of 60 updates of the detector: 12 alone, 6 steps beside them, the rest; two batches an iteration."""
    phases, names, foretold = Phases(0.2, 0.1, total=60, accumulate=2), [], []
    for _ in range(50):
        foretold.append(phases.rests)
        phases.begin_batch()
        names.append("a" if phases.alone else "j" if phases.begun else "d")
    assert "".join(names) == "d" * 24 + "a" * 12 + "j" * 14 and foretold == [name == "a" for name in names]
    assert (phases.learned, phases.rested) == (38, 12)
    again = Phases(0.2, 0.1, total=60, accumulate=2)
    again.load_state_dict(phases.state_dict())
    assert again.batches == 50 and not again.alone and again.begun
    lengths = [(p.detector, p.adversary) for p in (Phases(3, 4), Phases(0.5, 4, total=10))]
    assert lengths == [(3, 4), (5, 4)] and Phases(0, 4).rests and not Phases(1, 4).rests
    with pytest.raises(ValueError, match="`total` is needed"):
        Phases(0.5)
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


def stop_in(monkeypatch, calls):
    """SIGINT in forward number `calls` of a detector in training."""
    plain, seen = FasterRCNN.losses, []

    def losses(self, *args):
        seen.append(1)
        if len(seen) == calls:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, *args)

    monkeypatch.setattr(FasterRCNN, "losses", losses)


def test_who_moves_in_which_phase(whole, tiny_coco, tmp_path, monkeypatch):
    """Parameters and running statistics of the detector, weight decay included; stopped after each adversary's step."""
    states_of = [load_file(whole / f"model_{k:07d}.pth")["model"] for k in range(1, 7)]
    assert changed(*states_of[:2]) and not any(name.startswith(MINE) for name in changed(*states_of[:2]))
    last = states_of[1]
    shutil.copy(whole / "model_0000002.pth", tmp_path / "last.pth")
    for step in range(1, 4):
        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            stop_in(patch, 1)
            train(config(tiny_coco, tmp_path), resume=True)
        state = load_file(tmp_path / "last.pth")
        assert (state["iteration"], state["adversaries"]["steps"]) == (2, step)
        assert {name.split(".")[3] for name in changed(last, state["model"])} == {"0", "1"}
        assert all(name.startswith(MINE) for name in changed(last, state["model"]))
        last = state["model"]
    joint = changed(last, states_of[2])
    assert changed(*states_of[:2]) <= joint and any(name.startswith(MINE) for name in joint)


def test_the_clock_is_the_detectors(whole, tiny_coco, tmp_path):
    """Schedule, averaged weights, reports and result of six updates; three steps of the adversaries come on top."""
    state = load_file(whole / "last.pth")
    assert state["iteration"] == 6 and state["ema"]["updates"] == 6 and state["adversaries"]["steps"] == 3
    steps = {name: [] for name in ("optimizer", "adversaries")}
    for name in steps:
        own = state["optimizer"] if name == "optimizer" else state["adversaries"]["optimizer"]
        steps[name] = {int(one["step"]) for one in own["state"].values()}
    assert steps == {"optimizer": {6}, "adversaries": {4}}  # the state began anew with the joint phase
    assert json.loads((whole / "result.json").read_text())["adversary_steps"] == 3
    lines = {split: [x for x in read_metrics(whole / "metrics.jsonl") if x["split"] == split] for split in SPLITS}
    plain = load_config("baselines/faster_rcnn_shapes")
    assert [line["iteration"] for line in lines["train"]] == [3, 6]
    factor = instantiate(plain.lr_multiplier, num_updates=6)
    assert [line["lr"] for line in lines["train"]] == pytest.approx([2e-3 * factor(k / 6) for k in (2, 5)])
    (line,) = lines["adversary"]
    assert (line["iteration"], line["adversary/step"], line["lr"]) == (2, 3, 2e-3)
    assert {"roi/dropout/before", "roi/dropout/found", "roi/transformer/angle", "loss/dropout"} <= line.keys()
    assert line["adversary/update_norm"] > 0 and line["loss/dropout"] > 0
    assert {"roi/dropout/harmful", "roi/transformer/after", "adversary/update_norm"} <= lines["train"][1].keys()


@pytest.mark.parametrize(
    "forwards",
    [
        pytest.param(1, id="detector", marks=pytest.mark.slow),
        pytest.param(3, id="first rest"),
        pytest.param(5, id="last rest", marks=pytest.mark.slow),
        pytest.param(6, id="joint", marks=pytest.mark.slow),
    ],
)
def test_stopped_in_each_phase_and_resumed_bit_for_bit(tiny_coco, whole, tmp_path, monkeypatch, forwards):
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        stop_in(patch, forwards)
        train(config(tiny_coco, tmp_path))
    train(config(tiny_coco, tmp_path), resume=True)
    a, b = load_file(tmp_path / "last.pth"), load_file(whole / "last.pth")
    for part in ("model", "optimizer", "adversaries", "ema", "rng", "iteration"):
        compare(a[part], b[part], part)
    assert numbers(tmp_path) == numbers(whole)


def test_killed_after_a_report_of_the_adversary(tiny_coco, whole, tmp_path):
    """The checkpoint is of before the phase: its lines are written again and stand there once."""
    for name in ("metrics.jsonl", "config.yaml", "environment.json"):
        shutil.copy(whole / name, tmp_path / name)
    shutil.copy(whole / "model_0000002.pth", tmp_path / "last.pth")
    train(config(tiny_coco, tmp_path), resume=True)
    assert numbers(tmp_path) == numbers(whole)


def test_an_evaluation_moves_no_phase(tiny_coco, whole, tmp_path):
    """With an evaluation, validation losses included, after every iteration, the same weights."""
    train(config(tiny_coco, tmp_path, eval_period=1))
    compare(load_file(tmp_path / "last.pth")["model"], load_file(whole / "last.pth")["model"], "model")
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if line["split"] == "val"]
    assert all({"loss/dropout", "loss/transformer", "loss/rpn_cls"} <= line.keys() for line in lines)
    assert ["roi/dropout/after" in line for line in lines] == [False] * 2 + [True] * 4


@pytest.mark.slow
def test_two_batches_an_iteration(tiny_coco, tmp_path):
    train(config(tiny_coco, tmp_path, accumulate=2, max_iter=4))
    state = load_file(tmp_path / "last.pth")
    assert state["model"][f"{MINE}parts.0.phases._extra_state"].tolist() == [8, 6, 0]
    assert (state["iteration"], state["adversaries"]["steps"]) == (4, 3)


@pytest.mark.slow
def test_random_cells_rest_as_long_and_see_the_same_batches(tiny_coco, whole, tmp_path):
    """The control has nothing to learn; its detector has as many updates, on the batches of the adversary's arm."""
    cfg = config(tiny_coco, tmp_path)
    for part in parts_of(cfg):
        part.network = None
    train(cfg)
    state, other = load_file(tmp_path / "last.pth"), load_file(whole / "last.pth")
    assert state["adversaries"]["steps"] == 3 == other["adversaries"]["steps"] and state["iteration"] == 6
    assert state["adversaries"]["optimizer"] is None
    lines = [line for line in read_metrics(tmp_path / "metrics.jsonl") if line["split"] == "adversary"]
    assert len(lines) == 1 and "adversary/update_norm" not in lines[0]


def test_from_a_trained_detector_as_published(tiny_coco, tmp_path):
    """The adversary learns first, against the weights of the checkpoint; then both do, with the rate from its start."""
    no_average = dict(enabled=False, decay=0.0)  # else the checkpoint's average would be what is begun with
    plain = config(tiny_coco, tmp_path / "plain", max_iter=2)
    plain.train.ema = no_average
    plain.model.roi_heads.region_features = None
    train(plain)
    checkpoint = tmp_path / "plain" / "last.pth"
    cfg = config(tiny_coco, tmp_path / "joint", max_iter=1, init_checkpoint=str(checkpoint), init_strict=False)
    for part in parts_of(cfg):
        part.phases.detector = 0
    cfg.train.update(log_period=1, ema=no_average)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        stop_in(patch, 3)
        train(cfg)
    before, state = load_file(checkpoint)["model"], load_file(tmp_path / "joint" / "last.pth")
    assert (state["iteration"], state["adversaries"]["steps"]) == (0, 3)
    assert all(torch.equal(value, state["model"][name]) for name, value in before.items())
    train(cfg, resume=True)
    (line,) = [x for x in read_metrics(tmp_path / "joint" / "metrics.jsonl") if x["split"] == "train"]
    assert line["lr"] == pytest.approx(2e-3 * 0.001)  # where the warm-up begins
    assert changed(load_file(tmp_path / "joint" / "last.pth")["model"], before)


def joint_update_norms(weight, anew):
    """12 steps alone, then the norms of 40 joint ones. anew: whether the optimizer's state may begin anew."""
    torch.manual_seed(0)
    change = AdversarialSpatialDropout(MaskNetwork(8), Phases(0, 12), unmasked_every=0, margin=-2.0, weight=weight)
    head, matched, norms = stage(change), some_regions([0, 1, K, 2] * 4), []
    side = Adversaries([change], torch.optim.AdamW(change.parameters(), 2e-3), max_norm=10.0)
    for _ in range(52):
        alone = side.rests
        change.begin_step()
        losses, _, _ = head.losses(torch.rand(16, C, S, S), matched)
        losses["loss_dropout"].backward()
        norm = side.step(torch.amp.GradScaler(enabled=False), alone or not anew, True)["adversary/update_norm"]
        norms += [] if alone else [norm.item()]
    assert len(norms) == 40
    return norms


def test_mechanism_the_adversary_goes_on_learning_in_the_joint_phase():
    """There is something to learn in each step (every mask counts as harmful), so after AdamW's first steps, which are
    larger, the updates keep their size. Momentum left over from the phase before fades as 0.9^k, to 0.016 after 39
    steps: that is what happens with a small loss and the state of the phase before.
    """
    norms = joint_update_norms(weight=1.0, anew=True)
    assert sum(norms[-10:]) > 0.15 * sum(norms[:10]) and sum(norms[-10:]) > 0.7 * sum(norms[-20:-10])
    stuck = joint_update_norms(weight=1e-4, anew=False)
    assert sum(stuck[-10:]) < 0.1 * sum(stuck[:10]) and stuck[10] / stuck[0] == pytest.approx(0.9**10, rel=0.3)


@pytest.mark.slow
def test_two_processes(tiny_coco, tmp_path):
    """Gloo, with parameters that get no gradient in every phase: replicas stay equal, and the detector rests."""
    save_config(config(tiny_coco, tmp_path / "two"), tmp_path / "two.yaml")
    run_two(tmp_path / "two.yaml")
    first, second = (torch.load(tmp_path / "two" / f"rank{rank}.pth", weights_only=True) for rank in range(2))
    weights = [name for name in first if "running" not in name and "tracked" not in name]
    assert all(torch.equal(first[name], second[name]) for name in weights)
    after = states(tmp_path / "two")
    assert not any(name.startswith(MINE) for name in changed(*after[:2]))
    assert {name.split(".")[3] for name in changed(after[1], after[2]) if name.startswith(MINE)} == {"0", "1"}
    lines = read_metrics(tmp_path / "two" / "metrics.jsonl")
    assert [line["split"] for line in lines if line["split"] != "val"] == ["adversary", "train", "train"]
    assert all(line["balance/box_over_cls"] > 0 for line in lines if line["split"] == "train")
