"""EQFL: neutral, by hand, remembered gradients against autograd, no objects, the mechanism."""

import math

import pytest
import torch

from imbdet.remedies.class_fg_bg.quality_focal_loss import QualityFocalLoss
from imbdet.remedies.class_fg_fg.eqfl import EQFL
from imbdet.testing import regions

LABELS = [0, 0, 1, 3, 3, -1]


def test_neutral_is_quality_focal_loss_and_so_is_the_first_step():
    m, logits = regions(LABELS, 3), torch.randn(6, 3)
    for soft in (True, False):
        want = QualityFocalLoss(soft=soft)(logits, m)[0]
        assert torch.allclose(EQFL(3, soft=soft)(logits, m)[0], want, atol=1e-6)
        neutral = EQFL(3, scale=0, soft=soft)
        for _ in range(2):
            assert torch.allclose(neutral(logits, m)[0], want, atol=1e-6)
            neutral.end_step()


def test_by_hand():
    """g = 1/2: exponent 6, factor 3; z = 0 on background: 3 (1/2)^6 log 2."""
    loss = EQFL(1)
    loss.positive.fill_(0.5), loss.negative.fill_(1.0)
    assert loss(torch.zeros(1, 1), regions([1], 1))[0].item() == pytest.approx(3 / 64 * math.log(2), rel=1e-5)


def test_remembered_gradients_are_those_of_the_loss():
    loss, g = EQFL(3), torch.Generator().manual_seed(0)
    total = torch.zeros(2, 3)
    for _ in range(3):
        logits = torch.randn(6, 3, generator=g).requires_grad_()
        loss(logits, regions(LABELS, 3))[0][:5].sum().backward()
        loss.end_step()
        for row, label in zip(logits.grad.abs(), LABELS[:5], strict=False):
            for j in range(3):
                total[int(j != label), j] += row[j]
        assert torch.allclose(loss.positive.float(), total[0], rtol=1e-4)
        assert torch.allclose(loss.negative.float(), total[1], rtol=1e-4)


def test_gradient_and_no_objects():
    loss = EQFL(3).eval()
    loss.negative.fill_(1.0)
    logits = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, regions([0, 3, 2], 3))[0], logits)
    assert torch.isfinite(EQFL(3)(torch.randn(3, 3), regions([3, 3, -1], 3))[0]).all()


def test_mechanism_easy_negatives_of_a_class_without_positives_vanish():
    loss, m, low = EQFL(2), regions([2], 2), torch.full((1, 2), -1.0)
    for _ in range(2):
        loss(torch.zeros(50, 2), regions([0] * 25 + [2] * 25, 2)), loss.end_step()
    assert loss.exponents()[1] == 10 and loss(low, m)[0] < 0.7 * QualityFocalLoss()(low, m)[0]
