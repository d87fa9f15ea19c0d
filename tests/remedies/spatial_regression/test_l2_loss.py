"""L2: the gradient is the error itself, so one bad box outweighs many good ones."""

import torch
from torch.nn import functional as F

from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_regression.l1_loss import L1Loss
from imbdet.remedies.spatial_regression.l2_loss import L2Loss
from tests.remedies.spatial_regression._checks import ROI, DeltaChecks, gradient_share, of_first_delta, scene


class TestL2Loss(DeltaChecks):
    """Nested: dw = dh = -ln 2, twice ln(2)^2 / 2 = 0.48045. Touching: dx = 1, 1/2. Disjoint: dx = 2, 2."""

    make, remedy, weights = L2Loss, "l2_loss", (1.0, 10.0)
    worked = {"identical": 0, "nested": 0.4804530, "touching": 0.5, "disjoint": 2.0}

    def naive_error(self, x):
        return x * x / 2


def test_equals_torch():
    m, deltas = scene()
    want = F.mse_loss(deltas, ROI.encode(m.boxes, m.targets), reduction="none").sum(1) / 2
    assert torch.allclose(L2Loss()(deltas, m, ROI)[0], want)


def test_neutral_below_1_it_is_smooth_l1():
    m, deltas = scene()
    near = ROI.encode(m.boxes, m.targets) + 0.9 * torch.tanh(deltas)
    assert torch.allclose(L2Loss()(near, m, ROI)[0], SmoothL1(beta=1.0)(near, m, ROI)[0])


def test_mechanism_the_outlier_rules():
    """29 errors of 0.1 and one of 3: half of the gradient is the outlier's (3 of 5.9), a thirtieth under L1."""
    errors = torch.tensor([0.1] * 29 + [3.0])
    assert abs(gradient_share(of_first_delta(L2Loss()), errors, errors > 1) - 3 / 5.9) < 1e-5
    assert abs(gradient_share(of_first_delta(L1Loss()), errors, errors > 1) - 1 / 30) < 1e-5
