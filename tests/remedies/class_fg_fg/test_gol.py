"""GOL: by hand, a loop, the first probability, where the limits end the gradient, the mechanism."""

import math

import pytest
import torch

from imbdet.remedies.class_fg_fg.gol import GOL
from imbdet.testing import regions


def test_by_hand():
    """z = 0: p = 1/e; the class pays 1, each other -log(1 - 1/e)."""
    other = -math.log(1 - 1 / math.e)
    values, _ = GOL()(torch.zeros(2, 3), regions([1, 3], 3))
    assert values.tolist() == pytest.approx([1 + 2 * other, 3 * other], rel=1e-6)


def test_a_loop_and_the_gradient():
    labels, logits = [0, 2, 3, -1], torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    m = regions(labels, 3)
    for value, row, label in zip(GOL()(logits, m)[0].tolist(), logits.tolist(), labels, strict=True):
        p = [math.exp(-math.exp(-z)) for z in row]
        assert value == pytest.approx(-sum(math.log(v if j == label else 1 - v) for j, v in enumerate(p)))
        assert GOL().scores(torch.tensor(row)).tolist() == pytest.approx(p, rel=1e-5)
    assert torch.autograd.gradcheck(lambda x: GOL()(x, m)[0], logits)


def test_first_probability():
    assert GOL(0.001).scores(torch.tensor(GOL(0.001).initial_bias(3))).item() == pytest.approx(0.001, rel=1e-4)
    with pytest.raises(ValueError, match="prior"):
        GOL(0)


def test_beyond_the_limits_there_is_no_gradient():
    """The trap: a positive with a low logit is lost."""
    z = torch.tensor([[-2.9], [-3.1], [-5.0], [12.0], [300.0]], requires_grad=True)
    values = GOL()(z, regions([0, 0, 0, 1, 1], 1))[0]
    values.sum().backward()
    assert torch.isfinite(values).all() and values[1:3].tolist() == [20, 20]
    assert z.grad[0] < -10 and (z.grad[1:] == 0).all()


def test_no_objects():
    assert torch.isfinite(GOL()(torch.randn(2, 3), regions([3, -1], 3))[0]).all()


def test_mechanism_low_logits_are_pushed_down_far_less_than_by_a_sigmoid():
    z = torch.full((1, 1), -2.0, requires_grad=True)
    GOL()(z, regions([1], 1))[0].sum().backward()
    assert 0 < z.grad.item() < 0.05 * torch.sigmoid(torch.tensor(-2.0))
