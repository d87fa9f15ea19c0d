"""A detector at rest: no gradient, no trace, and the gradient of an adversary passes through."""

import torch
from torch import nn

from imbdet.modeling.rest import at_rest, training_step
from imbdet.slots import Phased


class Adversary(nn.Module, Phased):
    def __init__(self, learns):
        super().__init__()
        self.learns, self.told, self.layer = learns, 0, nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(()))

    def begin_step(self):
        self.told += 1
        return self.learns

    def forward(self, x):
        self.seen += 1
        return self.layer(x)


def detector(*learns):
    norm = nn.BatchNorm1d(4)
    return nn.ModuleDict({"norm": norm, "adversaries": nn.ModuleList(map(Adversary, learns)), "head": nn.Linear(4, 2)})


def step(model, x):
    with training_step(model):
        hidden = model["norm"](x)
        for adversary in model["adversaries"]:
            hidden = adversary(hidden)
        return model["head"](hidden).square().sum()


def test_one_adversary_is_enough_for_rest_and_all_are_told():
    model, x = detector(False, True), torch.randn(8, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step(model, x).backward()
    with_gradient = [name for name, p in model.named_parameters() if p.grad is not None]
    assert with_gradient == [f"adversaries.{i}.layer.{p}" for i in (0, 1) for p in ("weight", "bias")]
    assert [a.told for a in model["adversaries"]] == [1, 1]
    assert all(p.requires_grad for p in model.parameters())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"adversaries.0.seen", "adversaries.1.seen"}  # and not the running statistics


def test_it_learns_when_all_agree():
    model, x = detector(True, True), torch.randn(8, 4)
    step(model, x).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model["norm"].num_batches_tracked == 1


def test_a_validation_loss_is_no_step():
    model, x = detector(False), torch.randn(8, 4)
    with torch.no_grad():
        step(model, x)
    assert model["adversaries"][0].told == 0 and model["norm"].num_batches_tracked == 1


def test_the_forward_at_rest_is_that_of_a_training_step():
    model, x = detector(False), torch.randn(8, 4)
    resting = step(model, x)
    model["adversaries"][0].learns = True
    assert torch.equal(resting, step(model, x))


def test_a_buffer_that_is_used_and_changed_does_not_break_the_backward():
    """A running mean is updated, used in the graph, and put back before the backward."""
    norm, x = nn.BatchNorm1d(4), torch.randn(8, 4, requires_grad=True)
    with at_rest([norm]):
        norm(x)
        y = (x * norm.running_var).sum()
    y.backward()
    assert torch.equal(norm.running_var, torch.ones(4)) and not torch.equal(x.grad, torch.ones(8, 4))


def test_an_error_inside_leaves_nothing_fixed():
    layer = nn.BatchNorm1d(2)
    try:
        with at_rest([layer]):
            layer(torch.randn(3, 2))
            raise KeyError
    except KeyError:
        pass
    assert layer.weight.requires_grad and torch.equal(layer.running_mean, torch.zeros(2))
