"""Bounded IoU loss: four bounds by hand, bounded values, and a gradient that ends where the center leaves the box."""

import pytest
import torch

from imbdet.remedies.spatial_regression.bounded_iou_loss import BoundedIoULoss
from imbdet.remedies.spatial_regression.iou_loss import IoULoss
from tests.remedies.spatial_regression._checks import BoxChecks
from tests.remedies.spatial_regression._naive import offset_of


def smooth(x, beta):
    if beta == 0:
        return abs(x)
    return x * x / (2 * beta) if x < beta else x - beta / 2


class TestBoundedIoULoss(BoxChecks):
    """Nested: 1 - 5 / 10.001 for each side, less 0.1. Touching, disjoint: 1 for x, less 0.1; the sides are right."""

    make, remedy, stretches = BoundedIoULoss, "bounded_iou_loss", True
    settings = ({}, {"beta": 0.0})
    worked = {"identical": 0, "nested": 2 * (1 - 5 / 10.001 - 0.1), "touching": 0.9, "disjoint": 0.9}
    bad = ({"beta": -1},)
    most = 4.0

    def naive_boxes(self, p, t, fixed, beta=0.2):
        bounds = []
        for i, off in enumerate(offset_of(p, t)):
            own, wanted = p[i + 2] - p[i], t[i + 2] - t[i]
            bounds.append(1 - max(0, (wanted - 2 * abs(off)) / (wanted + 2 * abs(off) + 1e-3)))
            bounds.append(1 - min(wanted / (own + 1e-3), own / (wanted + 1e-3)))
        return sum(smooth(b, beta) for b in bounds)

    def test_identical_boxes_cost_nothing_and_have_a_gradient(self):
        """The eps of 0.001 px is left over: 1e-4 a side of 10 px, squared 1e-8 / 0.4."""
        box = torch.tensor([[3.0, 5.0, 13.0, 15.0]])
        predicted = box.clone().requires_grad_()
        value = BoundedIoULoss().between(predicted, box)
        value.sum().backward()
        assert 0 <= value.item() < 1e-6 and torch.isfinite(predicted.grad).all()


def test_neutral_one_wrong_coordinate_is_one_minus_an_iou():
    """beta 0: a wrong width alone costs 1 - IoU; an offset as much as a shift of twice its length."""
    t = torch.tensor([[0.0, 0, 10, 10]])
    for p, like in (([-2.0, 0, 12, 10], [-2.0, 0, 12, 10]), ([3.0, 0, 13, 10], [6.0, 0, 16, 10])):
        found = BoundedIoULoss(beta=0.0).between(torch.tensor([p]), t)
        assert found.item() == pytest.approx(IoULoss("linear").between(torch.tensor([like]), t).item(), abs=1e-3)


def test_mechanism_bounded_and_silent_beyond_half_the_box():
    """|dx| > w_t / 2: the bound is 0 whatever else is right, and nothing pulls any more."""
    shift = torch.tensor([1.0, 4.0, 6.0, 1000.0], requires_grad=True)
    zeros = torch.zeros(4)
    target = torch.tensor([[0.0, 0, 10, 10]]).expand(4, 4)
    values = BoundedIoULoss().between(target + torch.stack((shift, zeros, shift, zeros), dim=1), target)
    values.sum().backward()
    assert (shift.grad[:2] > 0).all() and (shift.grad[2:] == 0).all()
    assert values[2:].tolist() == pytest.approx([0.9, 0.9], abs=1e-4)
