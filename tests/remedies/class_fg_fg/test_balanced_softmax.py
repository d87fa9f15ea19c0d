"""Balanced softmax: neutral, by hand, a loop, a class without boxes, and what it learns."""

import math

import pytest
import torch

from imbdet.modeling.defaults import SoftmaxCrossEntropy
from imbdet.remedies.class_fg_fg.balanced_softmax import BalancedSoftmax
from imbdet.testing import regions

COUNTS, LABELS = [60, 30, 10], [0, 1, 2, 3, -1]


def test_neutral_is_softmax_cross_entropy():
    m, logits = regions(LABELS, 3), torch.randn(5, 4)
    loss, plain = BalancedSoftmax(COUNTS, tau=0), SoftmaxCrossEntropy()
    assert torch.equal(loss(logits, m)[0], plain(logits, m)[0]) and torch.equal(
        loss.scores(logits), plain.scores(logits)
    )
    assert torch.equal(BalancedSoftmax([7, 7, 7])(logits, m)[0], plain(logits, m)[0])


def test_by_hand():
    """Equal logits, odds 1.8, 0.9, 0.3 and 1 of background: -log(0.3 / 4)."""
    values, _ = BalancedSoftmax(COUNTS)(torch.zeros(2, 4), regions([2, 3], 3))
    assert values.tolist() == pytest.approx([-math.log(0.3 / 4), -math.log(1 / 4)], rel=1e-6)


def test_a_loop_and_the_gradient():
    m, logits = regions(LABELS, 3), torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    loss = BalancedSoftmax(COUNTS, tau=0.5).double()
    for value, row, label in zip(loss(logits, m)[0].tolist(), logits.tolist(), LABELS, strict=True):
        moved = [z + 0.5 * math.log(3 * n / 100) for z, n in zip(row, COUNTS, strict=False)] + [row[3]]
        want = math.log(sum(map(math.exp, moved))) - moved[label] if label >= 0 else 0
        assert value == pytest.approx(want, rel=1e-5)
    assert torch.autograd.gradcheck(lambda x: loss(x, m)[0], logits)


def test_a_class_without_boxes_and_one_class():
    with_it, without = BalancedSoftmax([60, 0, 40]), BalancedSoftmax([60, 40])
    assert with_it.adjustment[1] == 0 and torch.equal(with_it.adjustment[[0, 2, 3]], without.adjustment)
    assert torch.equal(BalancedSoftmax([9]).adjustment, torch.zeros(2))
    with pytest.raises(ValueError, match="tau"):
        BalancedSoftmax(COUNTS, tau=-1)


def test_mechanism_what_knows_only_the_shares_learns_equal_scores():
    """Regions that tell nothing, of counts 60, 30, 10 and 100 of background: the logits learn to be fair."""
    m = regions([0] * 60 + [1] * 30 + [2] * 10 + [3] * 100, 3)
    loss, bias = BalancedSoftmax(COUNTS), torch.zeros(4, requires_grad=True)
    for _ in range(150):
        (gradient,) = torch.autograd.grad(loss(bias.expand(200, 4), m)[0].mean(), bias)
        bias = (bias - 4 * gradient).detach().requires_grad_()
    assert loss.scores(bias.detach()).tolist() == pytest.approx([1 / 6] * 3, abs=2e-3)
