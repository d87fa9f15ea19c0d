"""Effective number: neutral, by hand, the sum it stands for, its two limits, and the share of the gradient."""

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.modeling.defaults import SigmoidCrossEntropy, SoftmaxCrossEntropy
from imbdet.remedies.class_fg_fg.class_weights import ClassWeights, InversePower
from imbdet.remedies.class_fg_fg.effective_number import EffectiveNumber
from tests.helpers import K, criterion, regions

NAMES = ["circle", "star", "ring"]


def table(counts, beta, **more):
    return ClassWeights(counts, NAMES[: len(counts)], EffectiveNumber(beta), **more).table[:-1]


def test_neutral_is_the_baseline():
    m, logits, deltas = regions([0, 3, 2, 1, -1]), torch.randn(5, K + 1), torch.randn(5, 4)
    neutral = ClassWeights([900, 90, 10], NAMES, EffectiveNumber(beta=0))
    plain, weighted = (criterion(weighting=w)(logits, deltas, m)[0] for w in (None, neutral))
    assert all(torch.equal(plain[name], weighted[name]) for name in plain)


def test_by_hand():
    """beta 0.9, boxes 2 and 1: E = 1.9 and 1, v = 0.5263 and 1. Over classes the mean is 0.7632: 0.6897 and 1.3103."""
    assert table([2, 1], 0.9, mean_over_boxes=False).tolist() == pytest.approx([0.6897, 1.3103], abs=1e-4)


@pytest.mark.parametrize("beta", [0.9, 0.99, 0.999, 0.9999])
def test_a_naive_loop(beta):
    """E_n = 1 + beta E_(n-1), box after box."""
    for n in (1, 2, 37, 1500):
        worth = 0.0
        for _ in range(n):
            worth = 1 + beta * worth
        found = EffectiveNumber(beta)(torch.tensor([float(n)], dtype=torch.float64), ["circle"])
        assert 1 / found.item() == pytest.approx(worth, rel=1e-9)


def test_the_two_limits():
    """Few boxes: inverse frequency. Many: all alike."""
    few = table([90, 10, 1], 1 - 1e-9)
    assert torch.allclose(few, ClassWeights([90, 10, 1], NAMES, InversePower(1)).table[:-1], rtol=1e-5)
    assert torch.allclose(table([90, 50, 40], 0.1), torch.ones(3))


def test_mean_over_boxes_or_the_sources_sum_over_classes():
    counts = [900, 90, 10]
    assert (table(counts, 0.99) * torch.tensor(counts)).sum().item() == pytest.approx(1000)
    assert table(counts, 0.99, mean_over_boxes=False).sum().item() == pytest.approx(3)


def test_no_object_at_all():
    module = ClassWeights([5, 3, 0], NAMES, EffectiveNumber())
    (cls, reg), _ = module(torch.ones(2), torch.zeros(2), regions([3, -1]))
    assert torch.equal(cls, torch.ones(2)) and torch.equal(reg, torch.ones(2))


@pytest.mark.parametrize("classification", [SoftmaxCrossEntropy(), SigmoidCrossEntropy()])
def test_mechanism_share_of_the_gradient(classification):
    """80, 15 and 5 regions with equal logits: class c's share of the gradient goes as n_c / E_c, so the rare class's
    rises from 5 % to the more the larger beta is, and never above a third.
    """
    counts = [80, 15, 5]
    m = regions([label for label, n in enumerate(counts) for _ in range(n)])
    logits, rare = torch.zeros(100, classification.num_logits(K), requires_grad=True), []
    for beta in (0.0, 0.9, 0.99, 0.999):
        weighting = ClassWeights(counts, NAMES, EffectiveNumber(beta))
        loss = criterion(classification, weighting=weighting)(logits, torch.zeros(100, 4), m)[0]["loss_cls"]
        (gradient,) = torch.autograd.grad(loss, logits)
        share = torch.stack([gradient[m.labels == c].abs().sum() for c in range(3)])
        want = [n * (1 - beta) / (1 - beta**n) for n in counts]
        assert (share / share.sum()).tolist() == pytest.approx([w / sum(want) for w in want], rel=1e-4)
        rare.append((share[2] / share.sum()).item())
    assert rare == sorted(rare) and rare[0] == pytest.approx(0.05) and 0.3 < rare[-1] < 1 / 3


@pytest.mark.parametrize("base", ["baselines/retinanet_shapes", "baselines/faster_rcnn_shapes"])
def test_config(base):
    model = instantiate(load_config(base, ["effective_number"], ["data.train.num_images=40"]).model)
    weighting = (getattr(model, "criterion", None) or model.roi_heads.criterion).weighting
    assert isinstance(weighting.rule, EffectiveNumber) and "beta 0.999" in weighting.describe()
    assert weighting.table[:-1].max() > 2 * weighting.table[:-1].min()


@pytest.mark.parametrize("beta", [-0.1, 1.0])
def test_wrong_beta(beta):
    with pytest.raises(ValueError, match="beta"):
        EffectiveNumber(beta)
