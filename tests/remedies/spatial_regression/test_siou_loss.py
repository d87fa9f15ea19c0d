"""SIoU loss: numbers by hand, the sign of the distance, and the direction that it prefers."""

import math

import pytest
import torch

from imbdet.remedies.spatial_regression.siou_loss import SIoULoss
from tests.remedies.spatial_regression._checks import BoxChecks, hull_of, iou_of, offset_of


class TestSIoULoss(BoxChecks):
    """Nested: 1 - 1/4 + (2 (1 - e^-0.5)^4) / 2. Touching: rho = 1/4, 1 + (1 - e^-0.5) / 2. Disjoint: rho = 4/9."""

    make, remedy = SIoULoss, "siou_loss"
    settings = ({}, {"theta": 2.0})
    worked = {
        "identical": 0,
        "nested": 0.75 + (1 - math.exp(-0.5)) ** 4,
        "touching": 1 + (1 - math.exp(-0.5)) / 2,
        "disjoint": 1 + (1 - math.exp(-8 / 9)) / 2,
    }
    bad = ({"theta": 0.5},)

    def naive_boxes(self, p, t, fixed, theta=4.0):
        (dx, dy), (wc, hc) = offset_of(p, t), hull_of(p, t)
        sigma = math.hypot(dx, dy)
        angle = math.sin(2 * math.asin(min(abs(dx), abs(dy)) / sigma))
        distance = sum(1 - math.exp(-(2 - angle) * rho) for rho in ((dx / wc) ** 2, (dy / hc) ** 2))
        sizes = (p[2] - p[0], t[2] - t[0]), (p[3] - p[1], t[3] - t[1])
        shape = sum((1 - math.exp(-abs(a - b) / max(a, b))) ** theta for a, b in sizes)
        return 1 - iou_of(p, t)[0] + (distance + shape) / 2


def test_diagonal_by_hand():
    """From (20, 20), equal sizes: A = sin(2 asin(1 / sqrt 2)) = 1, rho = (20 / 30)^2 on both axes."""
    p, t = torch.tensor([[20.0, 20, 30, 30]]), torch.tensor([[0.0, 0, 10, 10]])
    assert SIoULoss().between(p, t).item() == pytest.approx(1 + (1 - math.exp(-4 / 9)), rel=1e-5)


def test_trap_the_distance_costs():
    """The farther the dearer, and always above 1 - IoU; with the exponent's sign turned it would pay to be far."""
    far = torch.tensor([0.0, 2, 5, 9, 20, 80])
    boxes = torch.stack((far, torch.zeros(6), far + 10, torch.full((6,), 10.0)), dim=1)
    values = SIoULoss().between(boxes, torch.tensor([[0.0, 0, 10, 10]]).expand(6, 4))
    iou = ((10 - far).clamp(min=0) * 10) / (200 - (10 - far).clamp(min=0) * 10)
    assert (values.diff() > 0).all() and (values[1:] > 1 - iou[1:]).all()


def test_distance_pulls_disjoint_boxes_together():
    p = torch.tensor([[20.0, 5, 30, 15]], requires_grad=True)
    SIoULoss().between(p, torch.tensor([[0.0, 0, 10, 10]])).sum().backward()
    assert p.grad[0, 0] + p.grad[0, 2] > 0, "a shift to the left lowers it"


def test_mechanism_an_axis_first():
    """The same squared distance (in units of the box around both) costs more along an axis than on the diagonal, so
    that the last part of the way is along one: (2 - A) falls from 2 to 1.
    """

    def distance_cost(dx, dy):
        p, t = torch.tensor([[dx, dy, dx + 10, dy + 10]]), torch.tensor([[0.0, 0, 10, 10]])
        iou = iou_of(p[0].tolist(), t[0].tolist())[0]
        rho = (dx / (10 + dx)) ** 2 + (dy / (10 + dy)) ** 2
        return (SIoULoss().between(p, t).item() - (1 - iou)) / rho

    assert distance_cost(0.5, 0.0) > 1.9 * distance_cost(0.5, 0.5)


def test_mechanism_the_shape_begins_late():
    """theta 4: sides off by a tenth cost nearly nothing, off by a half 300 times as much."""
    t = torch.tensor([[0.0, 0, 10, 10]])
    cost = []
    for w in (9.0, 5.0):
        p = torch.tensor([[5 - w / 2, 0, 5 + w / 2, 10]])
        cost.append(SIoULoss().between(p, t).item() - (1 - w / 10))
    assert cost[1] > 100 * cost[0] > 0
