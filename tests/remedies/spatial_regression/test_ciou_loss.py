"""CIoU loss: torchvision's values, a gradient at height 0, the gate, and alpha that stands still."""

import math

import pytest
import torch
from torchvision.ops import complete_box_iou_loss

from imbdet.modeling.boxes import BoxCoder
from imbdet.remedies.spatial_regression.ciou_loss import CIoULoss
from imbdet.remedies.spatial_regression.diou_loss import DIoULoss
from imbdet.testing import random_boxes
from tests.remedies.spatial_regression._checks import BoxChecks, regions
from tests.remedies.spatial_regression._naive import aspect_of, distance_of, iou_of


class TestCIoULoss(BoxChecks):
    """All boxes are square, so v = 0 and the values are DIoU's."""

    make, remedy, weights, exact = CIoULoss, "ciou_loss", (12.0, 2.0), False
    settings = ({}, {"gate": 0.5})
    worked = {"identical": 0, "nested": 0.75, "touching": 1.2, "disjoint": 1.4}
    bad = ({"gate": -0.5},)
    most = 3.0

    def naive_boxes(self, p, t, fixed, gate=0.0):
        (iou, _), v = iou_of(fixed, t), aspect_of(fixed, t)
        alpha = v / (1 - iou + v) if iou >= gate and v > 0 else 0.0
        return 1 - iou_of(p, t)[0] + distance_of(p, t) + alpha * aspect_of(p, t)


def test_by_hand():
    """20 x 10 against 10 x 20 at one center: IoU 100 / 300, v = 4 / pi^2 (atan 2 - atan 1/2)^2 = 0.16784."""
    a, b = torch.tensor([[0.0, 0, 20, 10]]), torch.tensor([[5.0, -5, 15, 15]])
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(0.5)) ** 2
    assert CIoULoss().between(a, b).item() == pytest.approx(2 / 3 + v * v / (2 / 3 + v), rel=1e-5)


def test_equals_torchvision():
    a, b = random_boxes(100).requires_grad_(), random_boxes(100, seed=1)
    c = a.detach().clone().requires_grad_()
    found, want = CIoULoss().between(a, b), complete_box_iou_loss(c, b)
    assert torch.allclose(found, want, atol=1e-5)
    found.sum().backward()
    want.sum().backward()
    assert torch.allclose(a.grad, c.grad, atol=1e-5), "alpha has no gradient there either"


def test_neutral_equal_ratios_or_a_closed_gate_are_diou():
    a, b = random_boxes(50), random_boxes(50, seed=1)
    assert torch.equal(CIoULoss(gate=1.1).between(a, b), DIoULoss().between(a, b))
    assert torch.allclose(CIoULoss().between(a, 0.5 * a + 3), DIoULoss().between(a, 0.5 * a + 3), atol=1e-5)


def test_trap_gate_opens_at_iou_one_half():
    """The later paper's rule: the ratio counts from IoU 0.5 on. 10 x 10 against 10 x 6 (IoU 0.6) and 10 x 4 (0.4)."""
    target = torch.tensor([[0.0, 0, 10, 10]] * 2)
    p = torch.tensor([[0.0, 2, 10, 8], [0, 3, 10, 7]])
    gated, always, never = (CIoULoss(gate).between(p, target) for gate in (0.5, 0.0, 2.0))
    assert gated[0] == always[0] > never[0] and gated[1] == never[1] < always[1]


def test_trap_alpha_has_no_gradient():
    """With alpha fixed, dL/dp = d(DIoU)/dp + alpha dv/dp; with a gradient through alpha it would be another."""
    p, t = torch.tensor([[0.0, 1, 10, 7]], dtype=torch.float64), torch.tensor([[0.0, 0, 10, 10]], dtype=torch.float64)

    def gradient(loss):
        x = p.clone().requires_grad_()
        return torch.autograd.grad(loss(x), x)[0]

    def v(x):
        w, h = x[0, 2] - x[0, 0], x[0, 3] - x[0, 1]
        return 4 / math.pi**2 * (math.atan(1.0) - torch.atan(w / h)) ** 2

    alpha = (v(p) / (1 - 0.6 + v(p))).item()
    fixed = gradient(lambda x: DIoULoss().between(x, t).sum()) + alpha * gradient(v)
    through = fixed + v(p) * gradient(lambda x: v(x) / (DIoULoss().between(x, t).sum() + v(x)))
    found = gradient(lambda x: CIoULoss().between(x, t).sum())
    assert torch.allclose(found, fixed, rtol=1e-6) and not torch.allclose(found, through, rtol=1e-2)


def test_trap_height_0_has_a_finite_gradient():
    """torchvision's is NaN."""
    flat = torch.tensor([[0.0, 5, 10, 5]], requires_grad=True)
    CIoULoss().between(flat, torch.tensor([[0.0, 0, 10, 10]])).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_small_boxes_do_not_explode():
    """dv/dw ~ h / (w^2 + h^2) grows as boxes shrink; times w, through the size delta, it is at most 1/2."""
    gradients = []
    for size in (1e-2, 1.0, 1e3):
        box = torch.tensor([[0.0, 0, size, size]])
        deltas = torch.tensor([[0.0, 0, 0.4, -0.4]], requires_grad=True)
        CIoULoss()(deltas, regions(box, box), BoxCoder())[0].sum().backward()
        gradients.append(deltas.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-3)
    assert torch.allclose(gradients[2], gradients[1], atol=1e-3) and gradients[1].abs().max() < 1


def test_mechanism_the_ratio_is_corrected_where_diou_is_blind():
    """10 x 10 sought; 5 x 15 and 15 x 5 would do for the area. The pull on w / h is stronger than DIoU's, for a box of
    the right overlap and center but the wrong shape.
    """
    pull, target = {}, torch.tensor([[0.0, 0, 10, 10]])
    for loss in (DIoULoss(), CIoULoss()):
        ratio = torch.tensor(0.3, requires_grad=True)  # log of w / 10, h shrinks as w grows
        w, h = 10 * torch.exp(ratio), 10 * torch.exp(-ratio)
        box = torch.stack((5 - w / 2, 5 - h / 2, 5 + w / 2, 5 + h / 2)).unsqueeze(0)
        loss.between(box, target).sum().backward()
        pull[type(loss)] = ratio.grad.item()
    assert pull[CIoULoss] > pull[DIoULoss] > 0
