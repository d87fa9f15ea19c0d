"""EIoU loss: each side for itself, and the focal weight that leaves poor boxes behind."""

import pytest
import torch

from imbdet.remedies.spatial_regression.ciou_loss import CIoULoss
from imbdet.remedies.spatial_regression.diou_loss import DIoULoss
from imbdet.remedies.spatial_regression.eiou_loss import EIoULoss
from imbdet.testing import random_boxes
from tests.remedies.spatial_regression._checks import BoxChecks
from tests.remedies.spatial_regression._naive import distance_of, hull_of, iou_of


class TestEIoULoss(BoxChecks):
    """Nested: 1 - 1/4 + 5^2 / 10^2 for each side. Touching, disjoint: the sides are right, so DIoU's 1.2 and 1.4."""

    make, remedy, exact = EIoULoss, "eiou_loss", False
    settings = ({}, {"gamma": 0.5})
    worked = {"identical": 0, "nested": 1.25, "touching": 1.2, "disjoint": 1.4}
    bad = ({"gamma": -0.5},)
    most = 4.0

    def naive_boxes(self, p, t, fixed, gamma=0.0):
        wc, hc = hull_of(p, t)
        w, h = (p[2] - p[0]) - (t[2] - t[0]), (p[3] - p[1]) - (t[3] - t[1])
        weight = iou_of(fixed, t)[0] ** gamma if gamma else 1.0
        return weight * (1 - iou_of(p, t)[0] + distance_of(p, t) + (w / wc) ** 2 + (h / hc) ** 2)


def test_focal_by_hand():
    """Nested, gamma 0.5: sqrt(1/4) 1.25; gamma 2: 1.25 / 16."""
    p, t = torch.tensor([[2.5, 2.5, 7.5, 7.5]]), torch.tensor([[0.0, 0, 10, 10]])
    assert EIoULoss(gamma=0.5).between(p, t).item() == pytest.approx(0.625)
    assert EIoULoss(gamma=2.0).between(p, t).item() == pytest.approx(1.25 / 16)


def test_neutral_equal_sides_are_diou():
    a = random_boxes(50)
    assert torch.allclose(EIoULoss().between(a, a + 4), DIoULoss().between(a, a + 4), atol=1e-6)


def test_trap_it_is_efficient_not_extended_iou():
    """Extended IoU has no term of the sides where boxes only touch; this one has (5 / 15)^2 for half the width."""
    target = torch.tensor([[0.0, 0, 10, 10]])
    full, half = torch.tensor([[10.0, 0, 20, 10]]), torch.tensor([[10.0, 0, 15, 10]])
    of_sides = [(EIoULoss().between(p, target) - DIoULoss().between(p, target)).item() for p in (full, half)]
    assert of_sides == pytest.approx([0, (5 / 15) ** 2], abs=1e-6)


def test_trap_the_focal_weight_has_no_gradient():
    """Else poor boxes would lower their loss by lowering their IoU."""
    p = torch.tensor([[6.0, 0, 16, 10]], requires_grad=True)
    target = torch.tensor([[0.0, 0, 10, 10]])
    (focal,) = torch.autograd.grad(EIoULoss(gamma=0.5).between(p, target).sum(), p)
    (plain,) = torch.autograd.grad(EIoULoss().between(p, target).sum(), p)
    assert torch.allclose(focal, plain * (40 / 160) ** 0.5)


def test_mechanism_sides_are_moved_where_the_ratio_is_right():
    """Twice the target in both sides: CIoU's term of the shape is 0, EIoU's is not."""
    pull, target = {}, torch.tensor([[5.0, 5, 15, 15]])
    for loss in (CIoULoss(), EIoULoss()):
        p = torch.tensor([[0.0, 0, 20, 20]], requires_grad=True)
        loss.between(p, target).sum().backward()
        pull[type(loss)] = p.grad[0, 2].item()
    assert pull[EIoULoss] > 1.5 * pull[CIoULoss] > 0


def test_mechanism_focus_moves_the_share_to_good_boxes():
    """Shifts that give IoU 0.8 and 0.2: the poor box's share of the gradient falls."""
    target = torch.tensor([[0.0, 0, 10, 10]]).expand(2, 4)
    share = {}
    for gamma in (0.0, 0.5):
        shift = torch.tensor([10 / 9, 20 / 3], requires_grad=True)
        boxes = target + torch.stack((shift, torch.zeros(2), shift, torch.zeros(2)), dim=1)
        EIoULoss(gamma=gamma).between(boxes, target).sum().backward()
        share[gamma] = (shift.grad[1] / shift.grad.sum()).item()
    assert share[0.5] < 0.75 * share[0.0]
