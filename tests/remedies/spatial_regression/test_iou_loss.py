"""IoU loss in its three modes: overlap alone, equal for all sizes, and silent where boxes do not meet."""

import math

import pytest
import torch
from torchvision.ops import box_iou

from imbdet.remedies.spatial_regression.iou_loss import MODES, IoULoss
from imbdet.testing import random_boxes
from tests.remedies.spatial_regression._checks import BoxChecks
from tests.remedies.spatial_regression._naive import iou_of


class TestIoULoss(BoxChecks):
    """Nested: IoU 25 / 100, -ln 1/4 = 1.386294. Without overlap -ln 1e-6 = 13.815511."""

    make, remedy, stretches = IoULoss, "iou_loss", True
    settings = ({}, {"mode": "linear"}, {"mode": "square"})
    worked = {"identical": 0, "nested": 1.386294, "touching": 13.815511, "disjoint": 13.815511}
    bad = ({"mode": "cubic"},)
    most = -math.log(1e-6)

    def naive_boxes(self, p, t, fixed, mode="log"):
        iou, _ = iou_of(p, t)
        return {"log": -math.log(max(iou, 1e-6)), "linear": 1 - iou, "square": 1 - iou**2}[mode]


@pytest.mark.parametrize("mode, value", [("log", math.log(3)), ("linear", 2 / 3), ("square", 8 / 9)])
def test_modes_by_hand(mode, value):
    """Half of each of two equal boxes is shared: IoU 50 / 150."""
    a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10]])
    assert IoULoss(mode).between(a, b).item() == pytest.approx(value, rel=1e-5)


def test_equals_torchvision():
    a, b = random_boxes(100), random_boxes(100, seed=1)
    assert torch.allclose(IoULoss("linear").between(a, b), 1 - box_iou(a, b).diagonal(), atol=1e-5)


@pytest.mark.parametrize("mode", list(MODES))
def test_disjoint_boxes_have_no_gradient(mode):
    p = torch.tensor([[20.0, 0, 30, 10], [20, 20, 30, 30]], requires_grad=True)
    IoULoss(mode).between(p, torch.tensor([[0.0, 0, 10, 10]] * 2)).sum().backward()
    assert (p.grad == 0).all()


def test_mechanism_one_pixel_counts_by_the_size_of_the_box():
    """A pixel of error is worth ten times as much on a box of 10 as on one of 100, to first order."""
    value = {}
    for size in (10.0, 100.0):
        p, t = torch.tensor([[1.0, 0, 1 + size, size]]), torch.tensor([[0.0, 0, size, size]])
        value[size] = IoULoss("linear").between(p, t).item()
    assert value[10.0] / value[100.0] == pytest.approx(10, rel=0.1)


def test_mechanism_log_pulls_most_at_poor_boxes_square_at_good_ones():
    """d/dIoU: 1 / IoU, 1, 2 IoU."""
    iou = torch.tensor([0.1, 0.9])
    slopes = {mode: torch.func.vmap(torch.func.grad(of_iou))(iou).neg() for mode, of_iou in MODES.items()}
    assert slopes["log"].tolist() == pytest.approx([10, 1 / 0.9])
    assert slopes["linear"].tolist() == pytest.approx([1, 1]) and slopes["square"].tolist() == pytest.approx([0.2, 1.8])
