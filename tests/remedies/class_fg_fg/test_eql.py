"""EQL: neutral, by hand, a loop, which classes are rare, the mechanism."""

import math

import pytest
import torch

from imbdet.modeling.defaults import SigmoidCrossEntropy
from imbdet.remedies.class_fg_fg.eql import EQL
from imbdet.testing import regions

SHARES, LABELS = [0.5, 0.2, 0.01], [0, 1, 2, 3, -1]


def test_neutral_is_sigmoid_cross_entropy():
    m, logits = regions(LABELS, 3), torch.randn(5, 3)
    assert torch.equal(EQL(SHARES, quantile=0)(logits, m)[0], SigmoidCrossEntropy()(logits, m)[0])


def test_by_hand():
    """Class 2 is rare, z = 0: objects of others pay for two logits, its own and background for three."""
    values, _ = EQL(SHARES)(torch.zeros(5, 3), regions(LABELS, 3))
    assert values[:4].tolist() == pytest.approx([v * math.log(2) for v in (2, 2, 3, 3)])


def test_a_loop_and_the_gradient():
    m, logits = regions(LABELS, 3), torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    loss = EQL(SHARES, threshold=0.3)
    for value, row, label in zip(loss(logits, m)[0][:4].tolist(), logits.tolist(), LABELS, strict=False):
        want = 0.0
        for j, z in enumerate(row):
            if label < 3 and SHARES[j] < 0.3 and j != label:
                continue
            want += math.log(1 + math.exp(-z if j == label else z))
        assert value == pytest.approx(want, rel=1e-5)
    assert torch.autograd.gradcheck(lambda x: loss(x, m)[0], logits)


@pytest.mark.parametrize(
    ("shares", "settings", "rare"),
    [
        ([0.5, 0.002, 0.001], {"threshold": 0.00177}, [False, False, True]),
        ([0.5, 0.4, 0.3], {"threshold": 0.00177}, [False] * 3),  # the published one makes no class rare
        ([0.1, 0.4, 0.2, 0.3], {}, [True, False, True, False]),
        ([0.5], {}, [False]),
        ([0.5, 0.0, 0.1, 0.0], {}, [False, False, True, False]),  # a class without boxes is none of the rare
        ([0.0, 0.0], {}, [False, False]),
    ],
)
def test_rare(shares, settings, rare):
    assert EQL(shares, **settings).rare.tolist() == rare


def test_mechanism_only_background_still_pushes_a_rare_class_down():
    z = torch.zeros(3, 3, requires_grad=True)
    EQL(SHARES)(z, regions([0, 2, 3], 3))[0].sum().backward()
    assert z.grad[:, 2].tolist() == [0, -0.5, 0.5] and z.grad[1, 0] == 0.5


@pytest.mark.parametrize("bad", [{"threshold": 2}, {"quantile": -1}, {"prior": 0}])
def test_wrong_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        EQL(SHARES, **bad)
