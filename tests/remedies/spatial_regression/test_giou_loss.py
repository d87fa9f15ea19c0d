"""GIoU loss: torchvision's values, IoU's where one box holds the other, and a gradient between disjoint boxes."""

import torch
from torchvision.ops import generalized_box_iou_loss

from imbdet.remedies.spatial_regression.giou_loss import GIoULoss
from imbdet.remedies.spatial_regression.iou_loss import IoULoss
from imbdet.testing import random_boxes
from tests.remedies.spatial_regression._checks import BoxChecks
from tests.remedies.spatial_regression._naive import hull_of, iou_of


class TestGIoULoss(BoxChecks):
    """Nested: 1 - 1/4. Touching: nothing is empty, 1. Disjoint: 1 + (300 - 200) / 300."""

    make, remedy, stretches = GIoULoss, "giou_loss", True
    worked = {"identical": 0, "nested": 0.75, "touching": 1.0, "disjoint": 4 / 3}

    def naive_boxes(self, p, t, fixed):
        (iou, union), (wc, hc) = iou_of(p, t), hull_of(p, t)
        return 1 - iou + (wc * hc - union) / (wc * hc)


def test_equals_torchvision():
    a, b = random_boxes(100), random_boxes(100, seed=1)
    assert torch.allclose(GIoULoss().between(a, b), generalized_box_iou_loss(a, b), atol=1e-5)


def test_neutral_inside_it_is_the_linear_iou_loss():
    outer = random_boxes(50)
    quarter = (outer[:, 2:] - outer[:, :2]) / 4
    inner = torch.cat((outer[:, :2] + quarter, outer[:, 2:] - 2 * quarter), dim=1)
    for a, b in ((inner, outer), (outer, inner)):
        assert torch.allclose(GIoULoss().between(a, b), IoULoss("linear").between(a, b), atol=1e-6)


def test_mechanism_disjoint_boxes_grow_until_they_meet():
    """IoU alone has no gradient here; GIoU's moves the near side, x1, towards the target and leaves the far one."""
    p = torch.tensor([[20.0, 0, 30, 10]], requires_grad=True)
    target = torch.tensor([[0.0, 0, 10, 10]])
    GIoULoss().between(p, target).sum().backward()
    assert p.grad[0, 0] > 0 and p.grad[0, 2].abs() < p.grad[0, 0]
    box = p.detach()
    for _ in range(60):
        box = box.clone().requires_grad_()
        loss = GIoULoss().between(box, target).sum()
        box = (box - 40 * torch.autograd.grad(loss, box)[0]).detach()
    assert IoULoss("linear").between(box, target) < 1 and box[0, 2] - box[0, 0] > 11, "met, and grew on the way"
