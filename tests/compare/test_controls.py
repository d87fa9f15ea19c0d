"""Loss-scale controls: which losses an arm may have rescaled, the weight that matches them by hand, and a measurement
that equals the beginning of the runs."""

import pytest
from omegaconf import OmegaConf

from imbdet.compare import probe
from imbdet.compare.fairness import match_losses, matching_iterations, mean_loss, scaled_losses, unmatched
from imbdet.compare.probe import match_controls
from imbdet.compare.results import read_results
from imbdet.compare.structures import Arm, Configs, arm_config, node_at
from imbdet.runs import RunFolder

from .conftest import FOCAL, begin, tiny_plan

CONTROL = Arm("baseline (loss scale of focal_loss)", control_of="focal_loss")


@pytest.fixture(scope="module")
def configs():
    return Configs(tiny_plan(FOCAL, CONTROL))


def reports(*means, **more):
    """means: (iteration, mean of loss/cls over the window that ends there)."""
    return [{"iteration": i, "loss/cls": value, "loss/box_reg": 1.0, **more} for i, value in means]


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


def test_a_mean_over_windows_by_hand():
    """Windows that end at 40, 60 and 100: (40 x 4 + 20 x 2 + 40 x 1) / 100 = 2.4."""
    assert mean_loss(reports((40, 4.0), (60, 2.0), (100, 1.0)), "loss/cls") == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("period", "length", "measured"), [(20, 400, 100), (30, 400, 90), (250, 500, 250), (20, 50, 50)]
)
def test_windows_that_end_within_the_first_hundred_iterations_count(configs, period, length, measured):
    cfg = changed(configs, train__log_period=period, train__max_iter=length)
    assert matching_iterations(cfg) == measured


def test_the_weight_by_hand(configs):
    """Baseline mean 4, focal loss mean 0.5: the baseline's weight 1 becomes 0.125; and 2 becomes 0.25."""
    before, after = reports((50, 5.0), (100, 3.0)), reports((50, 0.7), (100, 0.3))
    overrides, lines = match_losses(configs.base, configs.of(FOCAL), before, after)
    assert overrides == ("model.criterion.classification_weight=0.125",)
    assert lines == [f"{overrides[0]} (loss/cls 4, loss/cls 0.5; mean of 100 iterations)"]
    doubled = changed(configs, model__criterion__classification_weight=2.0)
    assert match_losses(doubled, configs.of(FOCAL), before, after)[0] == ("model.criterion.classification_weight=0.25",)


def test_losses_that_cannot_be_matched():
    with pytest.raises(ValueError, match="loss/other was not reported at iteration 20"):
        mean_loss(reports((20, 2.0)), "loss/other")
    with pytest.raises(ValueError, match="nothing was reported"):
        mean_loss([], "loss/cls")
    with pytest.raises(ValueError, match="is -1; only a positive loss can be matched"):
        mean_loss(reports((20, -1.0)), "loss/cls")


def stand_in(monkeypatch, **losses):
    """Measurements that were not made; the arms that were measured."""
    asked = []

    def first_reports(function, arguments, failed):
        asked.append(arguments[1])
        return reports((20, losses[arguments[1]]))

    monkeypatch.setattr(probe, "_elsewhere", first_reports)
    return asked


def test_a_control_is_a_config_of_its_own_before_the_grid_begins(tmp_path, monkeypatch):
    asked = stand_in(monkeypatch, baseline=2.0, focal_loss=0.5)
    other = Arm("another name", ("focal_loss",)), Arm("control of another", control_of="another name")
    plan, said = tiny_plan(FOCAL, CONTROL, *other, seeds=(3, 4)), []
    stand = {"baseline": 2.0, "focal_loss": 0.5, "another name": 1.0}
    asked = stand_in(monkeypatch, **stand)
    matched = match_controls(plan, begin(plan, tmp_path / "out"), said.append)
    weights = [node_at(arm_config(matched, arm), "model.criterion.classification_weight") for arm in matched.arms]
    assert weights[2] == 0.25 and weights[4] == 0.5 and asked == ["baseline", "focal_loss", "another name"]
    assert "baseline (loss scale of focal_loss): model.criterion.classification_weight=0.25 (" in said[2]
    assert len(unmatched(plan)) == 2 and not unmatched(matched)
    assert match_controls(matched, tmp_path / "out") == matched and len(asked) == 3  # nothing is measured again


def test_a_control_that_cannot_be_matched_fails_with_the_reason(tmp_path, monkeypatch):
    asked = stand_in(monkeypatch, baseline=2.0, focal_loss=-1.0)
    plan = tiny_plan(FOCAL, CONTROL, seeds=(0, 1))
    root = begin(plan, tmp_path / "out")
    assert match_controls(plan, root) == plan
    failed = read_results(root)
    assert [(r.arm, r.seed, r.status) for r in failed] == [(CONTROL.name, 0, "failed"), (CONTROL.name, 1, "failed")]
    assert failed[0].reason == "refused: the mean of loss/cls is -1; only a positive loss can be matched"
    match_controls(plan, root)
    assert len(asked) == 2 and len(read_results(root)) == 2  # its cells have ended


def test_the_measurement_is_the_beginning_of_the_run(finished_grid):
    """Iteration for iteration what the grid's own run of the first seed reported."""
    plan = tiny_plan(FOCAL, overrides=("train.tensorboard=true",))
    measured = probe.first_reports(plan, "focal_loss", finished_grid)
    run = RunFolder(finished_grid / "runs" / "focal_loss" / "seed_0").metrics()
    run = [line for line in run if line["split"] == "train"]
    assert [line["iteration"] for line in measured] == [5, 10, 15, 20]
    assert [line["loss/cls"] for line in measured] == [line["loss/cls"] for line in run]
