"""L1: the baseline itself, and a gradient that knows only the sign."""

import torch
from torch.nn import functional as F

from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_regression.l1_loss import L1Loss
from tests.remedies.spatial_regression._checks import ROI, DeltaChecks, of_first_delta, scene


class TestL1Loss(DeltaChecks):
    """Nested: dw = dh = -ln 2, 2 ln 2 = 1.38629. Touching: dx = 1. Disjoint: dx = 2."""

    make, remedy = L1Loss, "l1_loss"
    worked = {"identical": 0, "nested": 1.3862944, "touching": 1.0, "disjoint": 2.0}

    def naive_error(self, x):
        return abs(x)


def test_neutral_is_the_baseline_exactly():
    m, deltas = scene(dtype=torch.float32)
    assert torch.equal(L1Loss()(deltas, m, ROI)[0], SmoothL1(beta=0.0)(deltas, m, ROI)[0])


def test_equals_torch():
    m, deltas = scene()
    want = F.l1_loss(deltas, ROI.encode(m.boxes, m.targets), reduction="none").sum(1)
    assert torch.allclose(L1Loss()(deltas, m, ROI)[0], want)


def test_mechanism_each_error_pulls_equally():
    errors = torch.tensor([0.001, 0.1, -1.0, 50.0], requires_grad=True)
    of_first_delta(L1Loss())(errors).sum().backward()
    assert torch.equal(errors.grad, torch.tensor([1.0, 1.0, -1.0, 1.0]))
