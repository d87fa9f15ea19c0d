"""DropLoss: neutral, by hand, how often rare negatives stay, a batch without foreground, the mechanism."""

import math

import pytest
import torch

from imbdet.modeling.defaults import SigmoidCrossEntropy
from imbdet.remedies.class_fg_fg.drop_loss import DropLoss
from imbdet.remedies.class_fg_fg.eql import EQL
from imbdet.testing import regions

SHARES = [0.5, 0.2, 0.01]


def test_neutral_is_sigmoid_cross_entropy():
    m, logits = regions([0, 1, 2, 3, -1], 3), torch.randn(5, 3)
    assert torch.equal(DropLoss(SHARES, quantile=0)(logits, m)[0], SigmoidCrossEntropy()(logits, m)[0])


def test_by_hand_without_and_with_nothing_but_rare_objects():
    """z = 0. b = 0: background pays for two logits; b = 1: for all three, and objects never for a rare negative."""
    for label, paid in ((0, [2, 2]), (2, [3, 3])):
        values, stats = DropLoss(SHARES)(torch.zeros(2, 3), regions([label, 3], 3))
        assert values.tolist() == pytest.approx([v * math.log(2) for v in paid])
        assert stats["drop_loss/rare_share"] == (label == 2)


def test_the_share_of_rare_negatives_that_stay():
    """One of four foreground regions is rare: b = 1/4, over 4000 regions of background; ignored ones do not count."""
    labels = [0, 1, 1, 2] * 100 + [3] * 4000 + [-1] * 500
    torch.manual_seed(0)
    weights, _ = DropLoss(SHARES).weights(torch.zeros(4900, 3), *self_target(labels))
    kept = weights[400:4400]
    assert kept[:, 2].mean().item() == pytest.approx(0.25, abs=0.03) and (kept[:, :2] == 1).all()
    assert set(weights.unique().tolist()) == {0, 1}


def self_target(labels):
    m = regions(labels, 3)
    return (m.labels[:, None] == torch.arange(3)).float(), m


def test_no_foreground_keeps_no_rare_negative_and_is_finite():
    """The trap: the mean of an empty set is not a number."""
    values, stats = DropLoss(SHARES)(torch.zeros(3, 3), regions([3, 3, -1], 3))
    assert values[:2].tolist() == pytest.approx([2 * math.log(2)] * 2) and stats["drop_loss/rare_share"] == 0


def test_draws_come_from_the_generator_of_the_run():
    labels, logits = [0, 2] + [3] * 50, torch.zeros(52, 3)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(DropLoss(SHARES)(logits, regions(labels, 3))[0])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_mechanism_rare_negatives_of_background_lose_gradient_beside_eql():
    m, pushed = regions([0] * 10 + [3] * 90, 3), {}
    for loss in (EQL(SHARES), DropLoss(SHARES)):
        z = torch.zeros(100, 3, requires_grad=True)
        loss(z, m)[0].sum().backward()
        pushed[type(loss)] = z.grad[:, 2].sum().item()
    assert pushed[EQL] == 45 and pushed[DropLoss] == 0
