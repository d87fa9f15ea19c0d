"""Uncertainty weighting: neutral, by hand, where it settles, its limits, and that nothing decays it."""

import math

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.engine.optimizer import get_default_optimizer_params
from imbdet.remedies.objective.uncertainty_weighting import UncertaintyWeighting

from ._cases import NAMES, gradients, step


def test_neutral_is_the_plain_sum():
    losses = step(0.5, 0.1, 2.0, 0.25)
    weighted, _ = UncertaintyWeighting(NAMES, limit=0, regression_factor=1)(losses)
    assert weighted.pop("loss_uncertainty") == 0
    assert all(torch.equal(weighted[name], losses[name]) for name in losses)


def test_by_hand():
    """s = log 4 and log 2: 2 / 4 + 0.5 x 0.25 / 2 + (log 4 + log 2) / 2."""
    weigh = UncertaintyWeighting(["loss_cls", "loss_box_reg"])
    weigh.log_variances.data = torch.tensor([4.0, 2.0]).log()
    losses = step(2.0, 0.25, names=("loss_cls", "loss_box_reg"))
    weighted, stats = weigh(losses)
    assert sum(weighted.values()).item() == pytest.approx(0.5 + 0.0625 + math.log(8) / 2)
    assert list(gradients(losses, weighted).values()) == pytest.approx([0.25, 0.25])
    assert stats["uncertainty/loss_cls"].item() == pytest.approx(math.log(4))


def test_mechanism_it_learns_the_size_of_each_loss():
    """d/ds = -e^-s L + 1/2 = 0 at s = log 2 L of classification and log L of boxes: the weighted losses become 1/2."""
    weigh = UncertaintyWeighting(["loss_cls", "loss_box_reg"])
    optimizer = torch.optim.SGD(weigh.parameters(), lr=0.5)
    for _ in range(200):
        losses, _ = weigh(step(3.0, 0.1, names=("loss_cls", "loss_box_reg")))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert weigh.log_variances.tolist() == pytest.approx([math.log(6), math.log(0.1)], abs=1e-3)
    assert [losses[name].item() for name in ("loss_cls", "loss_box_reg")] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_a_loss_that_is_zero_cannot_run_away():
    weigh = UncertaintyWeighting(["loss_cls", "loss_box_reg"])
    weigh.log_variances.data = torch.tensor([0.0, -50.0])
    losses, _ = weigh(step(1.0, 0.0, names=("loss_cls", "loss_box_reg")))
    assert losses["loss_uncertainty"].item() == -2 and torch.isfinite(sum(losses.values()))


def test_losses_of_other_names():
    found, _ = UncertaintyWeighting(NAMES)(step(1, 7, names=("loss_cls", "dropout")))
    assert found["dropout"] == 7
    with pytest.raises(ValueError, match="weighs loss_cls, but the losses are a, b"):
        UncertaintyWeighting(["loss_cls"])(step(1, 2, names=("a", "b")))
    with pytest.raises(ValueError, match="limit"):
        UncertaintyWeighting(NAMES, limit=-1)


def test_it_is_trained_without_decay():
    cfg = load_config("baselines/retinanet_shapes", ["uncertainty_weighting"], ["data.train.num_images=12"])
    groups = get_default_optimizer_params(instantiate(cfg.model), 1e-3, 1e-2, overrides=cfg.optimizer.params.overrides)
    mine = [group for group in groups if any(p.shape == (2,) for p in group["params"])]
    assert len(mine) == 1 and mine[0]["weight_decay"] == 0 and len(mine[0]["params"]) == 1
