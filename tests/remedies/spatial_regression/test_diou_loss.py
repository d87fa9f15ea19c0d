"""DIoU loss: torchvision's values, the center that pulls, and the coordinates that it is measured in."""

import pytest
import torch
from torchvision.ops import distance_box_iou_loss

from imbdet.remedies.spatial_regression.diou_loss import DIoULoss
from imbdet.remedies.spatial_regression.giou_loss import GIoULoss
from imbdet.remedies.spatial_regression.iou_loss import IoULoss
from imbdet.testing import random_boxes
from tests.remedies.spatial_regression._checks import BoxChecks
from tests.remedies.spatial_regression._naive import distance_of, iou_of


class TestDIoULoss(BoxChecks):
    """Nested: one center, 1 - 1/4. Touching: 1 + 10^2 / (20^2 + 10^2). Disjoint: 1 + 20^2 / (30^2 + 10^2)."""

    make, remedy, weights = DIoULoss, "diou_loss", (12.0, 2.0)
    worked = {"identical": 0, "nested": 0.75, "touching": 1.2, "disjoint": 1.4}

    def naive_boxes(self, p, t, fixed):
        return 1 - iou_of(p, t)[0] + distance_of(p, t)


def test_equals_torchvision():
    a, b = random_boxes(100), random_boxes(100, seed=1)
    assert torch.allclose(DIoULoss().between(a, b), distance_box_iou_loss(a, b), atol=1e-5)


def test_neutral_one_center_is_the_linear_iou_loss():
    a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[2.0, -5, 8, 15]])
    assert torch.equal(DIoULoss().between(a, b), IoULoss("linear").between(a, b))


def test_trap_coordinates_are_pixels():
    """A region of 40 x 10, its unit square: the distance of two boxes side by side is another there, so the authors'
    code (RoI coordinates) and this (pixels, as in the paper) differ, while GIoU does not.
    """
    a, b = torch.tensor([[0.0, 0, 40, 10]]), torch.tensor([[10.0, 5, 50, 15]])
    unit = torch.tensor([40.0, 10, 40, 10])
    assert DIoULoss().between(a, b).item() == pytest.approx(1 - 150 / 650 + (100 + 25) / (2500 + 225), rel=1e-5)
    in_roi = DIoULoss().between(a / unit, b / unit).item()
    assert in_roi == pytest.approx(1 - 150 / 650 + (1 / 16 + 1 / 4) / (25 / 16 + 9 / 4), rel=1e-5)
    assert GIoULoss().between(a / unit, b / unit).item() == pytest.approx(GIoULoss().between(a, b).item(), rel=1e-5)


def test_mechanism_a_box_inside_is_drawn_to_the_center():
    """Where IoU and GIoU do not care, the gradient (shift of the whole box) points to the target's center."""
    target = torch.tensor([[0.0, 0, 20, 20]])
    pull = {}
    for loss in (GIoULoss(), DIoULoss()):
        shift = torch.zeros(2, requires_grad=True)
        inside = torch.tensor([[2.0, 4, 8, 10]]) + shift.repeat(2)
        loss.between(inside, target).sum().backward()
        pull[type(loss)] = -shift.grad
    assert torch.allclose(pull[GIoULoss], torch.zeros(2), atol=1e-7)
    to_center = torch.tensor([5.0, 3.0])
    assert torch.allclose(pull[DIoULoss] / pull[DIoULoss].norm(), to_center / to_center.norm(), atol=1e-5)


def test_mechanism_disjoint_boxes_grow_less_for_the_way_they_move():
    """Sides x1 = 20 and x2 = 30 against 0..10. GIoU: dL/dx1 = 1 / x2 = 1 / 30, dL/dx2 = -1 / 90. DIoU: rho / c^2 = 0.02
    and 0.02 - 2 x2 rho^2 / c^4 = -0.004. So the width grows 4 times as fast as the center moves, against 3 times.
    """
    target, pull = torch.tensor([[0.0, 0, 10, 10]]), {}
    for loss in (GIoULoss(), DIoULoss()):
        box = torch.tensor([[20.0, 0, 30, 10]], requires_grad=True)
        loss.between(box, target).sum().backward()
        pull[type(loss)] = box.grad[0, [0, 2]].tolist()
    assert pull[GIoULoss] == pytest.approx([1 / 30, -1 / 90], rel=1e-5)
    assert pull[DIoULoss] == pytest.approx([0.02, -0.004], rel=1e-5)
