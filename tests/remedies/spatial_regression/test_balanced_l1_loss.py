"""Balanced L1: numbers of the paper's formula, continuity, and the share of the gradient that inliers have."""

import math

import pytest
import torch

from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_regression.balanced_l1_loss import BalancedL1Loss
from imbdet.remedies.spatial_regression.smooth_l1_loss import SmoothL1Loss
from tests.remedies.spatial_regression._checks import (
    ROI,
    DeltaChecks,
    config,
    gradient_share,
    of_first_delta,
    scene,
)


class TestBalancedL1Loss(DeltaChecks):
    """b = e^3 - 1 = 19.0855. Nested: two errors of x = ln 2, each ((x + 1/b) ln(b x + 1) - x) / 2 = 0.643245.
    Touching: ((1 + 1/b) 3 - 1) / 2 = 1.07859. Disjoint: 1.5 more.
    """

    make, remedy = BalancedL1Loss, "balanced_l1_loss"
    settings = ({}, {"beta": 0.11}, {"beta": 0.0}, {"alpha": 0.2, "gamma": 1.0, "beta": 2.0})
    worked = {"identical": 0, "nested": 1.286490, "touching": 1.078594, "disjoint": 2.578594}
    bad = ({"alpha": 0}, {"gamma": -1}, {"beta": -1})

    def naive_error(self, x, alpha=0.5, gamma=1.5, beta=1.0):
        x, b = abs(x), math.exp(gamma / alpha) - 1
        if x < beta:
            return alpha * ((x + beta / b) * math.log(b * x / beta + 1) - x)
        return gamma * x + gamma * beta / b - alpha * beta


def test_neutral_is_the_baseline_exactly():
    m, deltas = scene(dtype=torch.float32)
    neutral = BalancedL1Loss(gamma=1.0, beta=0.0)
    assert torch.equal(neutral(deltas, m, ROI)[0], SmoothL1(beta=0.0)(deltas, m, ROI)[0])


def test_a_large_alpha_tends_to_smooth_l1():
    """alpha ln(x (e^(1 / alpha) - 1) + 1) -> x: the gradient of smooth L1."""
    m, deltas = scene()
    found = BalancedL1Loss(alpha=1e3, gamma=1.0)(deltas, m, ROI)[0]
    assert torch.allclose(found, SmoothL1Loss()(deltas, m, ROI)[0], rtol=1e-2, atol=1e-3)


def test_at_beta_1_it_is_the_papers_formula():
    """alpha / b (b x + 1) ln(b x + 1) - alpha x, else gamma x + gamma / b - alpha: 0.40057 at 0.5, 1.07859 at 1."""
    values = of_first_delta(BalancedL1Loss())(torch.tensor([0.5, 1.0], dtype=torch.float64))
    assert values.tolist() == pytest.approx([0.40057, 1.07859], abs=1e-5)


@pytest.mark.parametrize("beta", [1.0, 0.11, 3.0])
def test_trap_value_and_gradient_are_continuous_at_beta(beta):
    """Also where beta is not 1: the slope just below it is gamma = 1.5 (1.70 in mmdetection at beta 0.11)."""
    errors = torch.tensor([beta - 1e-9, beta + 1e-9], dtype=torch.float64, requires_grad=True)
    values = of_first_delta(BalancedL1Loss(beta=beta))(errors)
    values.sum().backward()
    assert abs(values[0] - values[1]).item() < 1e-8
    assert errors.grad.tolist() == pytest.approx([1.5, 1.5], abs=1e-6)


def test_gradient_is_a_logarithm():
    x = torch.linspace(0.01, 0.99, 20, dtype=torch.float64, requires_grad=True)
    of_first_delta(BalancedL1Loss())(x).sum().backward()
    assert torch.allclose(x.grad, 0.5 * torch.log(x * (math.exp(3) - 1) + 1))


def test_mechanism_the_share_of_inliers_rises():
    """90 errors of 0.1 and 10 of 3: under smooth L1 the inliers have 9 / 19 of the gradient, here 79 %."""
    errors = torch.tensor([0.1] * 90 + [3.0] * 10)
    smooth = gradient_share(of_first_delta(SmoothL1Loss()), errors, errors < 1)
    balanced = gradient_share(of_first_delta(BalancedL1Loss()), errors, errors < 1)
    inliers = 90 * 0.5 * math.log(0.1 * (math.exp(3) - 1) + 1)
    assert smooth == pytest.approx(9 / 19, abs=1e-5)
    assert balanced == pytest.approx(inliers / (inliers + 15), abs=1e-5) and balanced > smooth + 0.25


def test_beta_of_each_detector():
    assert config("baselines/faster_rcnn_shapes", "balanced_l1_loss").model.roi_heads.criterion.regression.beta == 1.0
    assert config("baselines/retinanet_shapes", "balanced_l1_loss").model.criterion.regression.beta == 0.11
