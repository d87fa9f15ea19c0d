"""LDAM: neutral, by hand, a loop, when the weights begin, a class without boxes, the mechanism."""

import math

import pytest
import torch

from imbdet.modeling.defaults import SoftmaxCrossEntropy
from imbdet.remedies.class_fg_fg.ldam import LDAM
from imbdet.testing import regions

COUNTS, LABELS = [1600, 100, 100], [0, 1, 2, 3, -1]


def test_neutral_is_softmax_cross_entropy():
    m, logits = regions(LABELS, 3), torch.randn(5, 4)
    loss, plain = LDAM(COUNTS, margin=0, beta=0), SoftmaxCrossEntropy()
    assert torch.equal(loss(logits, m)[0], plain(logits, m)[0])
    assert torch.equal(loss.scores(logits), plain.scores(logits))


def test_by_hand():
    """Margins 1/2 (1/16)^(1/4) = 1/4 and 1/2; equal logits: log(e^-m + 3) + m; background as ever."""
    values, _ = LDAM(COUNTS, beta=0)(torch.zeros(3, 4), regions([0, 1, 3], 3))
    assert values.tolist() == pytest.approx([math.log(math.exp(-m) + 3) + m for m in (0.25, 0.5, 0)], rel=1e-6)


def test_a_loop_with_scale_and_deferred_weights():
    """beta 0.9, counts 2 and 1: effective numbers 1.9 and 1, weights 1/1.9 and 1 over their mean."""
    loss, logits = LDAM([2, 1], scale=3.0, beta=0.9, deferred=0.0).double(), torch.randn(4, 3, dtype=torch.float64)
    mean, labels = (1 / 1.9 + 1) / 2, [0, 1, 2, -1]
    weights, margins = [1 / 1.9 / mean, 1 / mean, 1], [0.5 * 0.5**0.25, 0.5, 0]
    m = regions(labels, 2)
    for value, row, label in zip(loss(logits, m)[0].tolist(), logits.tolist(), labels, strict=True):
        if label < 0:
            assert value == 0
            continue
        z = [3 * (v - margins[label] * (j == label)) for j, v in enumerate(row)]
        assert value == pytest.approx(weights[label] * (math.log(sum(map(math.exp, z))) - z[label]), rel=1e-5)
    assert torch.allclose(loss.scores(logits), (3 * logits).softmax(dim=1)[:, :2])
    assert torch.autograd.gradcheck(lambda x: loss(x, m)[0], logits.requires_grad_())


def test_the_weights_begin_late():
    loss, m = LDAM(COUNTS, margin=0, deferred=0.5, max_iter=4), regions([1], 3)
    found = []
    for _ in range(4):
        found.append(loss(torch.zeros(1, 4), m)[0].item() / math.log(4))
        loss(torch.zeros(1, 4), m), loss.end_step()  # two batches are one step
    assert found[:2] == pytest.approx([1, 1]) and found[2] == found[3] == pytest.approx(loss.table[1].item())
    assert loss.table[1] > 1.3 > 1 > loss.table[0] and loss.table[:3].mean().item() == pytest.approx(1)


def test_a_class_without_boxes_and_one_class():
    with_it, without = LDAM([60, 0, 40]), LDAM([60, 40])
    for name in ("margins", "table"):
        assert torch.equal(getattr(with_it, name)[[0, 2, 3]], getattr(without, name))
    assert with_it.margins[1] == 0 and with_it.table[1] == 1
    assert LDAM([9]).margins.tolist() == [0.5, 0] and LDAM([9]).table.tolist() == [1, 1]


def test_mechanism_rare_classes_still_learn_where_frequent_ones_are_done():
    z = torch.zeros(2, 4)
    z[0, 0], z[1, 1] = 4.0, 4.0
    z.requires_grad_()
    LDAM(COUNTS, beta=0)(z, regions([0, 1], 3))[0].sum().backward()
    assert z.grad[1, 1] < 1.2 * z.grad[0, 0] < 0


@pytest.mark.parametrize("bad", [{"margin": -1}, {"scale": 0}, {"deferred": 2}, {"beta": 1}])
def test_wrong_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        LDAM(COUNTS, **bad)
