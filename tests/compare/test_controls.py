"""Loss-scale controls: which weight gives the baseline an arm's balance, what it is by hand, and a measurement that
equals the beginning of the runs."""

import pytest
from omegaconf import OmegaConf

from imbdet.compare import probe
from imbdet.compare.fairness import scaled_losses
from imbdet.compare.probe import match_controls, match_losses, matching_iterations, mean_balance, unmatched
from imbdet.compare.results import read_results
from imbdet.compare.structures import Arm, Configs, arm_config, node_at
from imbdet.runs import RunFolder

from .conftest import FOCAL, begin, tiny_plan

CONTROL = Arm("baseline (loss scale of focal_loss)", control_of="focal_loss")


@pytest.fixture(scope="module")
def configs():
    return Configs(tiny_plan(FOCAL, CONTROL))


def reports(*ratios, tag="balance/box_over_cls"):
    return [{"iteration": i, "loss/cls": 1.0, tag: ratio} for i, ratio in enumerate(ratios, start=1)]


def test_focal_loss_rescales_the_classification_only(configs):
    assert scaled_losses(configs.base, configs.of(FOCAL)) == "model.criterion.classification_weight"


def changed(configs, **values):
    cfg = OmegaConf.create(OmegaConf.to_container(configs.base, resolve=False))
    for key, value in values.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True)
    return cfg


def test_what_counts_as_another_balance(configs):
    box = "model.criterion.regression_weight"
    assert scaled_losses(configs.base, changed(configs, model__criterion__regression__beta=0.5)) == box
    assert scaled_losses(configs.base, changed(configs, model__criterion__regression_weight=10.0)) == box
    for part in ("normalizer", "weighting"):  # what both losses are divided by, or weighed with
        cfg = changed(configs, **{f"model__criterion__{part}": {"_target_": "other"}})
        assert scaled_losses(configs.base, cfg) == box
    assert scaled_losses(configs.base, changed(configs, model__criterion__matcher__foreground=0.6)) == ""
    assert scaled_losses(configs.base, changed(configs, model__criterion=None)) == ""  # replaced as a whole


@pytest.mark.parametrize(("length", "measured"), [(400, 133), (20, 6), (2, 1)])
def test_the_balance_is_measured_after_a_third_of_the_training(configs, length, measured):
    assert matching_iterations(changed(configs, train__max_iter=length)) == measured


def test_the_weight_by_hand(configs):
    """Box over classification is 0.5 in the baseline, 2 under focal loss: a fourth of the classification's weight makes
    it 2. Of a box loss with that balance: the box loss's weight times 4. And a weight of 3 becomes 3 / 4."""
    overrides, line = match_losses(configs.base, configs.of(FOCAL), 0.5, 2.0)
    assert overrides == ("model.criterion.classification_weight=0.25",)
    assert line == f"{overrides[0]} (box over classification, by their gradients: baseline 0.5, arm 2)"
    other = changed(configs, model__criterion__regression__beta=0.5)
    assert match_losses(configs.base, other, 0.5, 2.0)[0] == ("model.criterion.regression_weight=4",)
    tripled = changed(configs, model__criterion__classification_weight=3.0)
    assert match_losses(tripled, configs.of(FOCAL), 0.5, 2.0)[0] == ("model.criterion.classification_weight=0.75",)


def test_the_mean_of_ratios_is_geometric_and_of_the_first_stage():
    assert mean_balance(reports(0.5, 8.0)) == pytest.approx(2.0)
    assert mean_balance(reports(3.0, tag="balance/stage0_box_over_cls")) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="box_over_cls was not reported in 2 iterations"):
        mean_balance(reports(0.0, 1.0, tag="balance/other"))


def stand_in(monkeypatch, **ratios):
    """Measurements that were not made; the arms that were measured."""
    asked = []

    def first_reports(function, arguments, failed):
        asked.append(arguments[1])
        return reports(ratios[arguments[1]])

    monkeypatch.setattr(probe, "_elsewhere", first_reports)
    return asked


def test_a_control_is_a_config_of_its_own_before_the_grid_begins(tmp_path, monkeypatch):
    """And what was measured is kept: a plan that has lost its weights gets them without another training."""
    other = Arm("another name", ("focal_loss",)), Arm("control of another", control_of="another name")
    plan, said = tiny_plan(FOCAL, CONTROL, *other, seeds=(3, 4)), []
    asked = stand_in(monkeypatch, **{"baseline": 0.5, "focal_loss": 2.0, "another name": 1.0})
    root = begin(plan, tmp_path / "out")
    matched = match_controls(plan, root, said.append, jobs=2)
    weights = [node_at(arm_config(matched, arm), "model.criterion.classification_weight") for arm in matched.arms]
    assert weights[2] == 0.25 and weights[4] == 0.5 and sorted(asked) == ["another name", "baseline", "focal_loss"]
    assert "baseline (loss scale of focal_loss): model.criterion.classification_weight=0.25 (" in said[3]
    assert len(unmatched(plan)) == 2 and not unmatched(matched)
    assert match_controls(matched, root) == matched and match_controls(plan, root) == matched and len(asked) == 3
    match_controls(tiny_plan(FOCAL, CONTROL, seeds=(3, 4), overrides=("model.convs=2",)), root)
    assert len(asked) == 5  # of another config


def test_a_control_that_cannot_be_matched_fails_with_the_reason(tmp_path, monkeypatch):
    asked = stand_in(monkeypatch, baseline=2.0, focal_loss=-1.0)
    plan = tiny_plan(FOCAL, CONTROL, seeds=(0, 1))
    root = begin(plan, tmp_path / "out")
    assert match_controls(plan, root) == plan
    failed = read_results(root)
    assert [(r.arm, r.seed, r.status) for r in failed] == [(CONTROL.name, 0, "failed"), (CONTROL.name, 1, "failed")]
    assert failed[0].reason.startswith("refused: balance/box_over_cls was not reported in 1 iterations")
    match_controls(plan, root)
    assert len(asked) == 2 and len(read_results(root)) == 2  # its cells have ended


def test_the_measurement_is_the_beginning_of_the_run(finished_grid):
    """What the grid's run of the first seed reported at iteration 5, and the balance of the iterations around it."""
    plan = tiny_plan(FOCAL, overrides=("train.tensorboard=true",))
    measured = probe.reports_of(plan, "focal_loss", finished_grid)
    assert [line["iteration"] for line in measured] == [1, 2, 3, 4, 5, 6]
    run = RunFolder(finished_grid / "runs" / "focal_loss" / "seed_0").metrics()
    run = next(line for line in run if line["split"] == "train" and line["iteration"] == 5)
    for tag in ("loss/cls", "balance/box_over_cls"):
        assert measured[4][tag] == run[tag]
    assert mean_balance(measured) > 0
