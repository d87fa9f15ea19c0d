"""alpha-IoU loss: the forms at power 1, numbers at power 3, and gradient that moves to good boxes."""

import pytest
import torch

from imbdet.remedies.spatial_regression.alpha_iou_loss import AlphaIoULoss
from imbdet.remedies.spatial_regression.ciou_loss import CIoULoss
from imbdet.remedies.spatial_regression.diou_loss import DIoULoss
from imbdet.remedies.spatial_regression.giou_loss import GIoULoss
from imbdet.remedies.spatial_regression.iou_loss import IoULoss
from imbdet.testing import random_boxes
from tests.remedies.spatial_regression._checks import BoxChecks
from tests.remedies.spatial_regression._naive import aspect_of, distance_of, hull_of, iou_of

PLAIN = {"iou": IoULoss("linear"), "giou": GIoULoss(), "diou": DIoULoss(), "ciou": CIoULoss()}


class TestAlphaIoULoss(BoxChecks):
    """Nested: 1 - (1/4)^3. Touching: 1 + 0.2^3. Disjoint: 1 + 0.4^3; all are square, so v = 0."""

    make, remedy, exact = AlphaIoULoss, "alpha_iou_loss", False
    settings = ({}, {"form": "diou"}, {"power": 2.0}, {"power": 0.5})
    worked = {"identical": 0, "nested": 1 - 1 / 64, "touching": 1.008, "disjoint": 1.064}
    bad = ({"power": 0}, {"form": "eiou"})
    most, zero = 3.0, 1e-4
    operators = 90

    def naive_boxes(self, p, t, fixed, power=3.0, form="ciou"):
        (iou, _), v = iou_of(fixed, t), aspect_of(fixed, t)
        weight = v / (1 - iou + v) if form == "ciou" and v > 0 else 0.0
        penalties = [distance_of(p, t), weight * aspect_of(p, t)]
        return 1 - iou_of(p, t)[0] ** power + sum(max(x, 1e-9) ** power for x in penalties if x)


class TestAreaForms(BoxChecks):
    """The forms that know nothing but areas, so that a stretch of one axis changes nothing. GIoU: disjoint 1 + 1/27."""

    make, remedy, stretches = AlphaIoULoss, "alpha_iou_loss", True
    settings = ({"form": "giou"}, {"form": "iou"})
    worked = {"identical": 0, "nested": 1 - 1 / 64, "touching": 1.0, "disjoint": 1 + 1 / 27}

    def test_values_by_hand(self):
        target = torch.tensor([[0.0, 0, 10, 10]])
        for form, disjoint in (("giou", 1 + 1 / 27), ("iou", 1.0)):
            loss = AlphaIoULoss(form=form)
            assert loss.between(torch.tensor([[20.0, 0, 30, 10]]), target).item() == pytest.approx(disjoint)
            assert loss.between(torch.tensor([[2.5, 2.5, 7.5, 7.5]]), target).item() == pytest.approx(1 - 1 / 64)

    def naive_boxes(self, p, t, fixed, form, power=3.0):
        (iou, union), (wc, hc) = iou_of(p, t), hull_of(p, t)
        return 1 - iou**power + (((wc * hc - union) / (wc * hc)) ** power if form == "giou" else 0)


@pytest.mark.parametrize("form", list(PLAIN))
def test_neutral_at_power_1_it_is_the_form_itself(form):
    a, b = random_boxes(100), random_boxes(100, seed=1)
    assert torch.allclose(AlphaIoULoss(1.0, form).between(a, b), PLAIN[form].between(a, b), atol=1e-6)


@pytest.mark.parametrize("power", [0.5, 3.0])
def test_no_overlap_at_all_has_a_finite_gradient(power):
    """x^0.5 has an infinite slope at 0."""
    p = torch.tensor([[20.0, 0, 30, 10]], requires_grad=True)
    AlphaIoULoss(power).between(p, torch.tensor([[0.0, 0, 10, 10]])).sum().backward()
    assert torch.isfinite(p.grad).all()


def test_mechanism_good_boxes_pull_more_poor_ones_less():
    """d(1 - IoU^3)/dIoU = -3 IoU^2: 2.43 times the linear pull at IoU 0.9, 0.12 times at 0.2."""
    target = torch.tensor([[0.0, 0, 10, 10]]).expand(2, 4)
    pull = {}
    for power in (1.0, 3.0):
        shift = torch.tensor([10 / 19, 20 / 3], requires_grad=True)  # IoU 0.9 and 0.2
        boxes = target + torch.stack((shift, torch.zeros(2), shift, torch.zeros(2)), dim=1)
        AlphaIoULoss(power, form="iou").between(boxes, target).sum().backward()
        pull[power] = shift.grad
    assert (pull[3.0] / pull[1.0]).tolist() == pytest.approx([2.43, 0.12], rel=1e-4)
