"""Smooth L1: L1 at beta 0, a gradient that fades with the error below beta and is bounded above it."""

import pytest
import torch
from torch.nn import functional as F

from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_regression.smooth_l1_loss import SmoothL1Loss
from tests.remedies.spatial_regression._checks import ROI, DeltaChecks, config, of_first_delta, scene


class TestSmoothL1Loss(DeltaChecks):
    """Nested: two errors of ln 2 < 1, twice ln(2)^2 / 2 = 0.48045. Touching: 1 - 1/2. Disjoint: 2 - 1/2."""

    make, remedy = SmoothL1Loss, "smooth_l1_loss"
    settings = ({}, {"beta": 0.1}, {"beta": 0.0}, {"beta": 1e-6})
    worked = {"identical": 0, "nested": 0.4804530, "touching": 0.5, "disjoint": 1.5}
    bad = ({"beta": -0.1},)

    def naive_error(self, x, beta=1.0):
        if beta < 1e-5:
            return abs(x)
        return x * x / (2 * beta) if abs(x) < beta else abs(x) - beta / 2


def test_neutral_is_the_baseline_exactly():
    m, deltas = scene(dtype=torch.float32)
    assert torch.equal(SmoothL1Loss(beta=0.0)(deltas, m, ROI)[0], SmoothL1(beta=0.0)(deltas, m, ROI)[0])


@pytest.mark.parametrize("beta", [1.0, 0.1, 0.0])
def test_equals_torch(beta):
    m, deltas = scene()
    want = F.smooth_l1_loss(deltas, ROI.encode(m.boxes, m.targets), reduction="none", beta=beta).sum(1)
    assert torch.allclose(SmoothL1Loss(beta)(deltas, m, ROI)[0], want)


@pytest.mark.parametrize("beta", [0.0, 1e-38, 1e-7])
def test_trap_beta_near_0_is_l1_with_a_gradient(beta):
    """x^2 / (2 beta) would be 0 / 0 at beta = 0 and x = 0."""
    errors = torch.tensor([0.0, 0.5, -2.0], requires_grad=True)
    values = of_first_delta(SmoothL1Loss(beta))(errors)
    values.sum().backward()
    assert values.tolist() == pytest.approx([0, 0.5, 2.0]) and errors.grad.tolist() == [0, 1, -1]


def test_it_is_not_hubers_loss():
    """Huber's slope for large errors is beta, this one's is 1 whatever beta."""
    errors = torch.tensor([5.0], requires_grad=True)
    of_first_delta(SmoothL1Loss(0.1))(errors).sum().backward()
    assert errors.grad.item() == pytest.approx(1.0)


def test_mechanism_gradient_fades_below_beta_and_is_bounded_above():
    errors = torch.tensor([0.1, 0.5, 1.0, 30.0], requires_grad=True)
    of_first_delta(SmoothL1Loss())(errors).sum().backward()
    assert errors.grad.tolist() == pytest.approx([0.1, 0.5, 1.0, 1.0])


def test_beta_of_each_detector():
    assert config("baselines/faster_rcnn_shapes", "smooth_l1_loss").model.roi_heads.criterion.regression.beta == 1.0
    assert config("baselines/retinanet_shapes", "smooth_l1_loss").model.criterion.regression.beta == 0.1
