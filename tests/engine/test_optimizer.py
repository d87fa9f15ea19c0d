import pytest
import torch
from torch import nn

from imbdet.engine.optimizer import Clipping, get_default_optimizer_params, scale_learning_rate


@pytest.fixture
def model():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.Linear(4, 2))


def settings_of(groups, parameter):
    found = [g for g in groups if any(p is parameter for p in g["params"])]
    assert len(found) == 1, "each parameter is in one group"
    return {key: value for key, value in found[0].items() if key != "params"}


def test_norm_layers_have_their_own_decay(model):
    groups = get_default_optimizer_params(model, weight_decay_norm=0.0)
    assert settings_of(groups, model[1].weight) == settings_of(groups, model[2].bias) == {"weight_decay": 0.0}
    assert settings_of(groups, model[0].weight) == settings_of(groups, model[3].bias) == {}
    assert len(groups) == 2 and sum(len(g["params"]) for g in groups) == 8


def test_bias_factor_and_decay(model):
    groups = get_default_optimizer_params(
        model, base_lr=0.1, weight_decay=1e-4, weight_decay_norm=0.0, bias_lr_factor=2.0, weight_decay_bias=0.5
    )
    assert settings_of(groups, model[0].weight) == {"lr": 0.1, "weight_decay": 1e-4}
    assert settings_of(groups, model[0].bias) == {"lr": 0.2, "weight_decay": 0.5}
    assert settings_of(groups, model[1].bias) == {"lr": 0.2, "weight_decay": 0.5}  # a bias first, as in detectron2
    assert settings_of(groups, model[1].weight) == {"lr": 0.1, "weight_decay": 0.0}


def test_factor_by_name_and_overrides(model):
    groups = get_default_optimizer_params(
        model,
        base_lr=0.1,
        lr_factor_func=lambda name: 0.5 if name.startswith("3.") else 1.0,
        overrides={"bias": {"weight_decay": 0.0}},
    )
    assert settings_of(groups, model[3].weight) == {"lr": 0.05}
    assert settings_of(groups, model[3].bias) == {"lr": 0.05, "weight_decay": 0.0}


def test_frozen_and_shared_parameters(model):
    model[0].requires_grad_(False)
    model.append(model[3])
    groups = get_default_optimizer_params(model)
    assert sum(len(g["params"]) for g in groups) == 6


def test_errors(model):
    with pytest.raises(ValueError, match="bias_lr_factor needs base_lr"):
        get_default_optimizer_params(model, bias_lr_factor=2.0)
    with pytest.raises(ValueError, match="conflicts"):
        get_default_optimizer_params(model, weight_decay_bias=0.1, overrides={"bias": {"lr": 1.0}})
    with pytest.raises(ValueError, match="nothing to train"):
        get_default_optimizer_params(model.requires_grad_(False))


def test_linear_scaling(model):
    optimizer = torch.optim.SGD(get_default_optimizer_params(model, base_lr=0.02, bias_lr_factor=2.0), lr=0.02)
    assert scale_learning_rate(optimizer, batch=8, reference=16) == 0.5
    assert sorted({g["lr"] for g in optimizer.param_groups}) == pytest.approx([0.01, 0.02])
    assert scale_learning_rate(optimizer, batch=8, reference=0) == 1.0


def test_clipping():
    """Gradients (3, 4) have norm 5; clipped to 1 they are (0.6, 0.8)."""
    a, b = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert Clipping(None)([a, b], wanted=False) is None
    assert Clipping(0.0)([a, b], wanted=True).item() == pytest.approx(5)
    assert Clipping(1.0)([a, b], wanted=False).item() == pytest.approx(5)
    assert (a.grad.item(), b.grad.item()) == pytest.approx((0.6, 0.8), rel=1e-5)


def test_share_of_clipped_steps():
    """Norms 5, 1, 5, 1, 1 and a limit of 2: two of the first three steps, none of the last two, 0.4 of all."""
    p, clipping = torch.nn.Parameter(torch.zeros(1)), Clipping(2.0)
    shares = []
    for number, norm in enumerate((5.0, 1.0, 5.0, 1.0, 1.0), start=1):
        p.grad = torch.tensor([norm])
        clipping([p], wanted=False)
        if number == 2:  # a run that is resumed in the middle of a window
            again = Clipping(2.0)
            again.load_state_dict(clipping.state_dict())
            clipping = again
        if number in (3, 5):
            shares.append(clipping.read()["clipped_share"])
    assert shares == [pytest.approx(2 / 3), 0.0] and clipping.of_run() == 0.4
    unclipped = Clipping(0.0)
    unclipped([p], wanted=True)
    assert unclipped.read() == {} and unclipped.of_run() is None
