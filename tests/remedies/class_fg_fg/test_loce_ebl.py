"""Equilibrium loss: neutral, by hand, steps of a loop, background, a class never seen, the mechanism."""

import math

import pytest
import torch

from imbdet.modeling.defaults import SoftmaxCrossEntropy
from imbdet.remedies.class_fg_fg.loce_ebl import EquilibriumLoss
from imbdet.testing import regions

LABELS = [0, 0, 1, 3, -1]


def test_neutral_is_softmax_cross_entropy_and_so_is_the_first_step():
    m, logits = regions(LABELS, 3), torch.randn(5, 4)
    want = SoftmaxCrossEntropy()(logits, m)[0]
    neutral = EquilibriumLoss(3, momentum=1)
    for _ in range(3):
        assert torch.allclose(neutral(logits, m)[0], want, atol=1e-6)
        neutral.end_step()
    assert torch.allclose(EquilibriumLoss(3)(logits, m)[0], want, atol=1e-6)
    assert torch.equal(neutral.scores(logits), SoftmaxCrossEntropy().scores(logits))


def test_by_hand():
    """s = 0.5, 0.1 and 0.01 of background; equal logits: -log(0.1 / 0.61)."""
    loss = EquilibriumLoss(2)
    loss.mean_scores.copy_(torch.tensor([0.5, 0.1, 0.01]))
    assert loss(torch.zeros(1, 3), regions([1], 2))[0].item() == pytest.approx(-math.log(0.1 / 0.61), rel=1e-5)


def test_steps_against_a_loop_and_the_gradient():
    loss, s, g = EquilibriumLoss(3, momentum=0.6), [0.01] * 4, torch.Generator().manual_seed(0)
    for _ in range(3):
        logits, seen = torch.randn(5, 4, generator=g), {}
        values, _ = loss(logits, regions(LABELS, 3))
        loss.end_step()
        for value, row, label in zip(values.tolist(), logits.tolist(), LABELS, strict=True):
            if label < 0:
                continue
            z = [v + math.log(p) for v, p in zip(row, s, strict=True)]
            assert value == pytest.approx(math.log(sum(map(math.exp, z))) - z[label], rel=1e-4)
            if label < 3:
                seen.setdefault(label, []).append(math.exp(row[label]) / sum(map(math.exp, row)))
        s = [0.6 * v + 0.4 * sum(seen[c]) / len(seen[c]) if c in seen else v for c, v in enumerate(s)]
        assert loss.mean_scores.tolist() == pytest.approx(s, rel=1e-5)
    assert s[2] == s[3] == 0.01, "a class never seen, and background, stay where they began"
    double = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss.eval()(x, regions(LABELS, 3))[0], double)


def test_no_objects_and_scores_that_vanish():
    loss = EquilibriumLoss(2, momentum=0.0)
    for logits, labels in ((torch.randn(2, 3), [2, -1]), (torch.tensor([[-200.0, 0, 0]] * 2), [0, 2])):
        assert torch.isfinite(loss(logits, regions(labels, 2))[0]).all()
        loss.end_step()
    assert torch.isfinite(loss(torch.randn(2, 3), regions([0, 2], 2))[0]).all()
    with pytest.raises(ValueError, match="momentum"):
        EquilibriumLoss(2, momentum=2)


def test_mechanism_a_class_that_is_recognized_holds_back_and_pushes_less():
    loss = EquilibriumLoss(2)
    loss.mean_scores.copy_(torch.tensor([0.9, 0.02, 0.01]))
    z = torch.zeros(2, 3, requires_grad=True)
    loss(z, regions([0, 1], 2))[0].sum().backward()
    assert z.grad[0, 1] < 0.03 < 0.9 < z.grad[1, 0]
