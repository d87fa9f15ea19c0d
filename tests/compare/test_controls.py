"""Loss-scale controls: which losses an arm may have rescaled, and the weight that matches them, by hand."""

import json
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from imbdet.compare.configs import Configs, arm_config, node_at
from imbdet.compare.controls import Unmatched, is_pending, matched_weights, mean_loss, scaled_losses, settle
from imbdet.compare.store import run_folder
from imbdet.compare.structures import Arm, RunRecord

from .conftest import FOCAL, tiny_plan

CONTROL = Arm("baseline (loss scale of focal_loss)", control_of="focal_loss")


@pytest.fixture(scope="module")
def configs():
    return Configs(tiny_plan(FOCAL, CONTROL))


def write_losses(root, arm, seed, *reports, split="train"):
    """reports: (iteration, mean of loss/cls over the window that ends there)."""
    folder = root / run_folder(arm, seed)
    folder.mkdir(parents=True)
    lines = [{"iteration": i, "split": split, "loss/cls": value, "loss/box_reg": 1.0} for i, value in reports]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def ended(*cells, status="finished"):
    return [RunRecord(arm, seed, run_folder(arm, seed), status) for arm, seed in cells]


def test_focal_loss_rescales_the_classification_only(configs):
    weight = "model.criterion.classification_weight"
    assert scaled_losses(configs.base, configs.of(FOCAL)) == [(weight, "loss/cls", "loss/cls")]


def changed(configs, **values):
    cfg = OmegaConf.create(OmegaConf.to_container(configs.base, resolve=False))
    for key, value in values.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    return cfg


def test_what_counts_as_a_loss_of_another_size(configs):
    found = scaled_losses(configs.base, changed(configs, model__criterion__regression__beta=0.5))
    assert [tag for _, tag, _ in found] == ["loss/box_reg"]
    found = scaled_losses(configs.base, changed(configs, model__criterion__regression_weight=10.0))
    assert [key for key, _, _ in found] == ["model.criterion.regression_weight"]
    for part in ("normalizer", "weighting"):  # what both losses are divided by, or weighed with
        cfg = changed(configs, **{f"model__criterion__{part}": {"_target_": "other"}})
        assert [tag for _, tag, _ in scaled_losses(configs.base, cfg)] == ["loss/cls", "loss/box_reg"]
    assert scaled_losses(configs.base, changed(configs, model__criterion__matcher__foreground=0.6)) == []
    assert scaled_losses(configs.base, changed(configs, model__criterion=None)) == []  # replaced as a whole


def test_the_mean_of_the_first_hundred_iterations_by_hand(tmp_path):
    """Windows that end at 40, 60 and 100: (40 x 4 + 20 x 2 + 40 x 1) / 100 = 2.4; the one up to 140 is left out."""
    folder = write_losses(tmp_path, "a", 0, (40, 4.0), (60, 2.0), (100, 1.0), (140, 50.0))
    assert mean_loss(folder, "loss/cls") == (pytest.approx(2.4), 100)


def test_a_first_window_longer_than_a_hundred_counts(tmp_path):
    folder = write_losses(tmp_path, "a", 0, (250, 3.0), (500, 1.0))
    assert mean_loss(folder, "loss/cls") == (3.0, 250)


def test_the_weight_by_hand(tmp_path):
    """Baseline mean 4, focal loss mean 0.5: the baseline's weight 1 becomes 0.125; and 2 becomes 0.25."""
    write_losses(tmp_path, "baseline", 0, (50, 5.0), (100, 3.0))
    write_losses(tmp_path, "focal_loss", 0, (50, 0.7), (100, 0.3))
    plan = tiny_plan(FOCAL, CONTROL)
    overrides, lines = matched_weights(plan, FOCAL, 0, tmp_path)
    assert overrides == ("model.criterion.classification_weight=0.125",)
    assert lines == [f"{overrides[0]} (loss/cls 4, loss/cls 0.5; mean of 100 iterations)"]
    doubled = replace(plan, overrides=(*plan.overrides, "model.criterion.classification_weight=2.0"))
    assert matched_weights(doubled, FOCAL, 0, tmp_path)[0] == ("model.criterion.classification_weight=0.25",)


def test_a_control_waits_for_both_and_is_then_a_config_of_its_own(tmp_path):
    plan = tiny_plan(FOCAL, CONTROL, seeds=(3, 4))
    write_losses(tmp_path, "baseline", 3, (20, 2.0))
    write_losses(tmp_path, "focal_loss", 3, (20, 0.5))
    for records in ([], ended(("baseline", 3)), ended(("baseline", 4), ("focal_loss", 4))):
        assert settle(plan, records, tmp_path) == (plan, [], {})  # seed 3 is still to come, and decides
    settled, lines, lost = settle(plan, ended(("focal_loss", 3), ("baseline", 3)), tmp_path)
    assert not lost and lines[0].startswith("baseline (loss scale of focal_loss): model.criterion.classification_wei")
    control = settled.arms[2]
    assert is_pending(CONTROL) and not is_pending(control)
    assert node_at(arm_config(settled, control), "model.criterion.classification_weight") == 0.25
    assert settle(settled, [], tmp_path) == (settled, [], {})


def test_after_a_failure_the_next_seed_decides(tmp_path):
    plan = tiny_plan(FOCAL, CONTROL, seeds=(0, 1))
    write_losses(tmp_path, "baseline", 1, (20, 2.0))
    write_losses(tmp_path, "focal_loss", 1, (20, 1.0))
    records = ended(("focal_loss", 0), status="failed") + ended(("baseline", 1), ("focal_loss", 1))
    assert settle(plan, records, tmp_path)[0].arms[2].overrides == ("model.criterion.classification_weight=0.5",)


def test_a_control_that_can_never_be_set_says_why(tmp_path):
    plan = tiny_plan(FOCAL, CONTROL, seeds=(0, 1))
    failed = ended(("focal_loss", 0), ("baseline", 1), status="failed")
    _, _, lost = settle(plan, failed, tmp_path)
    assert lost == {CONTROL.name: "no seed has finished both of baseline and focal_loss: no losses to match"}
    write_losses(tmp_path, "baseline", 0, (20, 2.0))
    write_losses(tmp_path, "focal_loss", 0, (20, -1.0))
    _, _, lost = settle(plan, ended(("baseline", 0), ("focal_loss", 0)), tmp_path)
    assert "is -1; only a positive loss can be matched" in lost[CONTROL.name]


def test_losses_that_are_not_there(tmp_path):
    folder = write_losses(tmp_path, "a", 0, (20, 2.0))
    with pytest.raises(Unmatched, match="has no loss/other at iteration 20"):
        mean_loss(folder, "loss/other")
    with pytest.raises(Unmatched, match="has no report of the training"):
        mean_loss(write_losses(tmp_path, "a", 1, (20, 2.0), split="val"), "loss/cls")
