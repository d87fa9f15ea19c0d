"""Logit-adjusted loss: neutral, by hand, a loop, the first probabilities, a class without boxes, the mechanism."""

import math

import pytest
import torch

from imbdet import testing
from imbdet.modeling.defaults import SigmoidCrossEntropy
from imbdet.remedies.class_fg_fg.logit_adjusted_loss import LogitAdjustedLoss
from imbdet.testing import regions

COUNTS, LABELS = [60, 30, 10], [0, 1, 2, 3, -1]


def test_neutral_is_sigmoid_cross_entropy():
    m, logits = regions(LABELS, 3), torch.randn(5, 3)
    for loss in (LogitAdjustedLoss(COUNTS, tau=0), LogitAdjustedLoss([9, 9, 9])):
        assert torch.allclose(loss(logits, m)[0], SigmoidCrossEntropy()(logits, m)[0], atol=1e-6)


def test_by_hand():
    """Odds 60/40, 30/70, 10/90 times K - 1 = 2: 3, 6/7, 2/9; at z = 0 on background the sum of log(1 + odds)."""
    value = LogitAdjustedLoss(COUNTS)(torch.zeros(1, 3), regions([3], 3))[0].item()
    assert value == pytest.approx(math.log(4) + math.log(13 / 7) + math.log(11 / 9), rel=1e-6)


def test_a_loop_and_the_gradient():
    m, logits = regions(LABELS, 3), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    loss = LogitAdjustedLoss(COUNTS, tau=0.7).double()
    for value, row, label in zip(loss(logits, m)[0].tolist(), logits.tolist(), LABELS, strict=True):
        want = 0.0
        for j, n in enumerate(COUNTS):
            z = row[j] + 0.7 * math.log(2 * n / (100 - n))
            want += math.log(1 + math.exp(-z if j == label else z))
        assert value == pytest.approx(want, rel=1e-5)
    assert torch.autograd.gradcheck(lambda x: loss(x, m)[0], logits)


def test_every_class_begins_training_at_the_prior():
    """A bias for each class, which a detector's head takes."""
    loss = LogitAdjustedLoss(COUNTS)
    assert (loss.initial_bias(3) + loss.adjustment).sigmoid().tolist() == pytest.approx([0.01] * 3, rel=1e-5)
    model = testing.tiny_detector("retinanet", ["logit_adjusted_loss"])
    own = model.criterion.classification.initial_bias(10)
    assert torch.allclose(model.head.cls_score.bias.view(-1, 10), own.expand(9, 10)) and own.std() > 0


def test_a_class_without_boxes_and_one_class():
    with_it, without = LogitAdjustedLoss([60, 0, 40]), LogitAdjustedLoss([60, 40])
    assert with_it.adjustment[1] == 0 and torch.equal(with_it.adjustment[[0, 2]], without.adjustment)
    assert torch.equal(LogitAdjustedLoss([9]).adjustment, torch.zeros(1))


def test_mechanism_a_rare_class_gets_a_higher_score_for_the_same_loss():
    """One logit learned alone from positives at the class's share among the objects: the scores become equal."""
    m = regions([0] * 60 + [1] * 30 + [2] * 10, 3)
    loss, z = LogitAdjustedLoss(COUNTS), torch.zeros(3, requires_grad=True)
    for _ in range(400):
        (gradient,) = torch.autograd.grad(loss(z.expand(100, 3), m)[0].mean(), z)
        z = (z - 4 * gradient).detach().requires_grad_()
    assert z.sigmoid().tolist() == pytest.approx([1 / 3] * 3, abs=2e-3)
