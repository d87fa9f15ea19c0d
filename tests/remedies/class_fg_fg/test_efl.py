"""EFL: neutral, by hand, steps of a loop whose gradients come from autograd, a class never seen, the mechanism."""

import math

import pytest
import torch

from imbdet.remedies.class_fg_bg.focal_loss import FocalLoss
from imbdet.remedies.class_fg_fg.efl import EFL
from imbdet.testing import regions

LABELS = [0, 0, 1, 3, 3, -1]


def test_neutral_is_focal_loss_and_so_is_the_first_step():
    m, logits = regions(LABELS, 3), torch.randn(6, 3)
    neutral = EFL(3, scale=0)
    for _ in range(3):
        assert torch.allclose(neutral(logits, m)[0], FocalLoss()(logits, m)[0], atol=1e-6)
        neutral.end_step()
    assert torch.allclose(EFL(3)(logits, m)[0], FocalLoss()(logits, m)[0], atol=1e-6)


def test_by_hand():
    """g = 1/2: exponent 6, factor 3; z = 0 on background: 3/4 x 3 x (1/2)^6 log 2, and 1/4 x ... for the positive."""
    loss = EFL(1)
    loss.positive.fill_(0.5), loss.negative.fill_(1.0)
    values, _ = loss(torch.zeros(2, 1), regions([1, 0], 1))
    assert values.tolist() == pytest.approx([v * 3 / 64 * math.log(2) for v in (0.75, 0.25)], rel=1e-5)


def test_steps_against_autograd():
    """The gradients that are remembered are those of the loss."""
    loss, g = EFL(3), torch.Generator().manual_seed(0)
    pos, neg = torch.zeros(3), torch.zeros(3)
    for _ in range(3):
        logits, m = torch.randn(6, 3, generator=g).requires_grad_(), regions(LABELS, 3)
        ratio = torch.where(neg > 0, pos / (neg + 1e-10), 1.0).clamp(0, 1)
        assert torch.allclose(loss.exponents(), 2 + 8 * (1 - ratio), rtol=1e-4)
        values, _ = loss(logits, m)
        values[:5].sum().backward()
        loss.end_step()
        for row, label in zip(logits.grad.abs(), LABELS[:5], strict=False):
            for j in range(3):
                (pos if j == label else neg)[j] += row[j]
        assert torch.allclose(loss.positive.float(), pos, rtol=1e-4)
        assert torch.allclose(loss.negative.float(), neg, rtol=1e-4)


def test_gradient_no_objects_and_extreme_logits():
    loss = EFL(3).eval()
    loss.negative.fill_(1.0)
    m, logits = regions([0, 3, 2], 3), torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(x, m)[0], logits)
    far = torch.tensor([[200.0, -200, 0]] * 3, requires_grad=True)
    value = loss(far, regions([3, 3, -1], 3))[0].sum()
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(far.grad).all()


def test_mechanism_easy_negatives_of_a_class_without_positives_vanish_and_its_positives_weigh_more():
    loss = EFL(2)
    for _ in range(2):
        loss(torch.zeros(50, 2), regions([0] * 25 + [2] * 25, 2)), loss.end_step()
    assert loss.exponents()[1] == 10 and loss.exponents()[0] < 8
    easy = loss(torch.full((1, 2), -1.0), regions([2], 2))[0]
    assert easy < 0.05 * FocalLoss()(torch.full((1, 2), -1.0), regions([2], 2))[0]
    lost = torch.tensor([[-9.0, -9.0]])
    assert loss(lost, regions([1], 2))[0] / FocalLoss()(lost, regions([1], 2))[0] == pytest.approx(5, rel=0.01)


@pytest.mark.parametrize("bad", [{"gamma": 0}, {"scale": -1}, {"alpha": 2}])
def test_wrong_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        EFL(3, **bad)
