"""ECM: neutral, by hand, the authors' form in a loop, scores, a class without boxes, the mechanism."""

import math

import pytest
import torch

from imbdet.modeling.defaults import one_hot
from imbdet.remedies.class_fg_fg.ecm import ECM
from imbdet.testing import regions

COUNTS, LABELS = [900, 90, 10], [0, 1, 2, 3]


def test_neutral_is_cross_entropy_of_all_sigmoids():
    logits, target = torch.randn(4, 4), one_hot(torch.tensor(LABELS), 4, torch.float32)
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1)
    found = ECM(COUNTS, slope=1, power=0, reweight=False)(logits, regions(LABELS, 3))[0]
    assert torch.allclose(found, want)


def test_by_hand():
    """One class of 10 images and as much background: odds 1 of both, no margin, v = log 2; z = 0: 2 log(2)^2."""
    value, stats = ECM([10], background_ratio=1.0)(torch.zeros(2, 2), regions([0, 1], 1))
    assert value.tolist() == pytest.approx([2 * math.log(2) ** 2] * 2) and stats["ecm/background_ratio"] == 1


def test_the_authors_form_in_a_loop_and_the_gradient():
    """p = exp(z + w+) / (exp(z + w+) + exp(-z + w-)) with the fourth roots of the counts."""
    logits, m = torch.randn(4, 4, dtype=torch.float64, requires_grad=True), regions(LABELS, 3)
    n = [*COUNTS, 6.3313 * sum(COUNTS)]
    loss = ECM(COUNTS).double()
    for value, row, label in zip(loss(logits, m)[0].tolist(), logits.tolist(), LABELS, strict=True):
        want = 0.0
        for j, z in enumerate(row):
            a, b = n[j] ** 0.25, (sum(n) - n[j]) ** 0.25
            plus, minus = -math.log(b / (a + b)), -math.log(a / (a + b))
            p = math.exp(z + plus) / (math.exp(z + plus) + math.exp(-z + minus))
            alpha = (sum(n) - n[j]) / n[j]
            want -= alpha * math.log(1 + 1 / alpha) * math.log(p if j == label else 1 - p)
        assert value == pytest.approx(want, rel=1e-5)
    assert torch.autograd.gradcheck(lambda x: loss(x, m)[0], logits)


def test_the_score_is_another_function_than_the_training():
    logits = torch.tensor([[1.0, -1.0, 0.5, 2.0]])
    want = logits[:, :3].sigmoid() * (1 - logits[:, 3:].sigmoid())
    assert torch.allclose(ECM(COUNTS).scores(logits), want)


def test_a_class_without_boxes_and_no_objects():
    with_it, without = ECM([900, 0, 10]), ECM([900, 10])
    for name in ("margins", "table"):
        assert torch.equal(getattr(with_it, name)[[0, 2, 3]], getattr(without, name))
    assert with_it.margins[1] == 0 and with_it.table[1] == 1
    assert torch.isfinite(with_it(torch.randn(2, 4), regions([3, -1], 3))[0]).all()


def test_mechanism_rare_classes_have_larger_margins_and_weigh_more():
    loss = ECM(COUNTS)
    assert loss.margins[2] < loss.margins[1] < loss.margins[0] < 0 < loss.margins[3]
    assert 1 > loss.table[2] > loss.table[1] > loss.table[0] > loss.table[3]
    z = torch.zeros(1, 4, requires_grad=True)
    loss(z, regions([3], 3))[0].sum().backward()
    assert z.grad[0, 2] < 0.6 * z.grad[0, 0]


@pytest.mark.parametrize("bad", [{"background_ratio": 0}, {"slope": 0}, {"power": -1}])
def test_wrong_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ECM(COUNTS, **bad)
