"""The base classes of the slots, and the gradient that a loss works out by hand."""

import torch
from torch import nn

from imbdet.slots import Calibration, Classification, RegionFeatures, Regression, with_gradient


class Filler(Classification, nn.Module):
    """The slot first: its declared call must not hide that of nn.Module."""

    normalizer = None

    def forward(self, logits, matched):
        return logits.sum(dim=1), {}


def test_a_module_may_name_its_slot_first_or_last():
    class Last(nn.Module, RegionFeatures):
        def forward(self, features, matched, head):
            return features, {}

    assert Filler()(torch.ones(2, 3), None)[0].tolist() == [3, 3]
    assert Last()(torch.ones(1), None, None)[0] == 1 and "__call__" not in vars(Classification)


def test_optional_methods_do_nothing():
    losses = {"loss": torch.ones(())}
    assert RegionFeatures().settle(losses, None, None) == (losses, {}) and RegionFeatures().build(4, 7) is None
    assert Regression().deviations(torch.zeros(2, 0), torch.zeros(2, 4)) is None and Regression.extra_values == 0
    assert Filler().background(torch.zeros(2, 3)) is None and Filler().describe() == ""
    logits = torch.randn(2, 3)
    assert Calibration().logits(logits) is logits


def test_with_gradient_has_the_value_and_the_gradient():
    value, logits, gradient = torch.tensor([0.3, 7.0]), torch.randn(2, 4, requires_grad=True), torch.randn(2, 4)
    weight = torch.tensor([1.0, 0.5])
    made = with_gradient(value, logits, gradient)
    assert torch.equal(made, value)
    (made * weight).sum().backward()
    assert torch.equal(logits.grad, gradient * weight[:, None])
