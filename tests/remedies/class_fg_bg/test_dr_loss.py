"""DR loss: by hand, a naive loop, gradients, no objects, the prior, and the hard examples that decide."""

import math

import pytest
import torch

from imbdet.remedies.class_fg_bg.dr_loss import DRLoss
from tests.helpers import K, Waits, regions


def naive(logits, matched):
    p = {True: [], False: []}
    for r, label in enumerate(matched.labels.tolist()):
        for k in range(K):
            if label >= 0:
                p[k == label].append(1 / (1 + math.exp(-logits[r, k].item())))
    lam = 0.1 / math.log(3.5)
    wp, wn = [math.exp(-x) for x in p[True]], [math.exp(x / lam) for x in p[False]]
    high = sum(a * b for a, b in zip(wp, p[True], strict=True)) / sum(wp) if wp else 1.0
    low = sum(a * b for a, b in zip(wn, p[False], strict=True)) / sum(wn)
    return 4 / 6 * math.log(1 + math.exp(6 * (low - high + 0.5)))


def test_by_hand():
    """All at p = 0.5: P+ = P- = 0.5, L = 4/6 log(1 + e^3) = 2.0324; and without positives P+ = 1: 4/6 log 2."""
    assert DRLoss()(torch.zeros(2, K), regions([0, K]))[0].sum().item() == pytest.approx(2.0324, abs=1e-4)
    assert DRLoss()(torch.zeros(2, K), regions([K, K]))[0].sum().item() == pytest.approx(4 / 6 * math.log(2))


@pytest.mark.parametrize("labels", [[0, K, 2, 1, -1, K], [K, K, K, K, -1, -1]])
def test_a_naive_loop_and_gradients(labels):
    matched = regions(labels)
    logits = torch.randn(6, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    with Waits() as waits:
        values = DRLoss()(logits, matched)[0]
    assert values.sum().item() == pytest.approx(naive(logits, matched)) and not waits.found
    assert (values[matched.labels < 0] == 0).all() and DRLoss().normalizer(matched) == 1
    assert torch.autograd.gradcheck(lambda x: DRLoss()(x, matched)[0], logits)


def test_no_region_at_all_and_extreme_logits():
    logits = torch.tensor([[300.0, -300, 0]] * 3, requires_grad=True)
    for labels in ([-1, -1, -1], [0, K, 2]):
        value = DRLoss()(logits, regions(labels))[0].sum()
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(logits.grad).all()


def test_trap_the_prior_is_a_half():
    assert DRLoss().initial_bias(K) == 0
    with pytest.raises(ValueError, match="tau"):
        DRLoss(tau=0)


def test_mechanism_the_hardest_negative_has_the_gradient():
    """One negative of p = 0.9 among a thousand of 0.02."""
    logits = torch.full((1001, K), -4.0)
    logits[0, 0], logits[1, 0] = 0.0, 2.2
    logits.requires_grad_()
    DRLoss()(logits, regions([0] + [K] * 1000))[0].sum().backward()
    share = logits.grad[1, 0] / logits.grad[1:].clamp(min=0).sum()
    assert share > 0.7
