"""CARL: neutral, by hand, a naive loop, gradients to both, no objects, and scores that follow the boxes."""

import math

import pytest
import torch

from imbdet.modeling.defaults import Considered, SigmoidCrossEntropy
from imbdet.remedies.objective.carl import CARL
from tests.helpers import K, Waits, criterion, regions


def loss(module, logits, box, matched):
    with Waits() as waits:
        found, _ = module(logits, torch.zeros(len(logits), 4), (torch.zeros_like(box), box), matched)
    assert list(found) == ["loss_carl"] and not waits.found
    return found["loss_carl"]


def test_neutral_adds_nothing():
    m, logits, deltas = regions([0, 1, K]), torch.randn(3, K + 1), torch.randn(3, 4)
    plain, _ = criterion()(logits, deltas, m)
    found, _ = criterion(coupling=CARL(Considered(), weight=0))(logits, deltas, m)
    assert found.pop("loss_carl") == 0 and found == plain


def test_by_hand():
    """Sigmoid p = 0.5 and 0.75: c = 0.6 and 0.8, scaled by 2 / 1.4; L = 1 and 3: (0.857 + 3.429) / 3 regions."""
    logits = torch.full((3, K), -20.0)
    logits[0, 0], logits[1, 1] = 0.0, math.log(3)
    value = loss(CARL(Considered()), logits, torch.tensor([1.0, 3, 0]), regions([0, 1, K]))
    assert value.item() == pytest.approx((0.6 + 0.8 * 3) * 2 / 1.4 / 3, rel=1e-4)


@pytest.mark.parametrize("width", [K, K + 1])
def test_a_naive_loop_and_gradients(width):
    m = regions([0, K, 2, 1, -1])
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(5, width, generator=g, dtype=torch.float64, requires_grad=True)
    box = torch.rand(5, generator=g, dtype=torch.float64) * m.foreground
    module = CARL(Considered(), k=1.5, bias=0.3)
    p = logits.detach().sigmoid() if width == K else logits.detach().softmax(1)
    mine = [(0, 0), (2, 2), (3, 1)]
    c = [(0.3 + 0.7 * p[r, k].item()) ** 1.5 for r, k in mine]
    want = sum(a * box[r].item() for a, (r, _) in zip(c, mine, strict=True)) * 3 / sum(c) / 4
    assert loss(module, logits, box, m).item() == pytest.approx(want)
    box.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: loss(module, x, y * m.foreground, m), (logits, box))


@pytest.mark.parametrize("labels", [[K, K], [-1, -1]])
def test_no_objects(labels):
    logits = torch.randn(2, K + 1, requires_grad=True)
    value = loss(CARL(Considered()), logits, torch.zeros(2), regions(labels))
    value.backward()
    assert value == 0 and (logits.grad == 0).all()


def test_mechanism_the_score_of_the_worse_box_falls_and_that_of_the_better_rises():
    logits = torch.zeros(2, K, requires_grad=True)
    loss(CARL(Considered()), logits, torch.tensor([0.1, 2.0]), regions([0, 1])).backward()
    assert logits.grad[0, 0] < 0 < logits.grad[1, 1]


def test_it_trains_with_the_sigmoids_of_a_dense_head_and_refuses_other_logits():
    made = criterion(SigmoidCrossEntropy(), coupling=CARL(Considered()))
    logits, deltas = torch.randn(3, K, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    made(logits, deltas, regions([0, 1, K]))[0]["loss_carl"].backward()
    assert logits.grad.abs().sum() > 0 and deltas.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="carl: 6 logits for 3 classes"):
        loss(CARL(Considered()), torch.zeros(2, 6), torch.zeros(2), regions([0, 1]))
    for bad in ({"k": -1}, {"bias": 2}, {"weight": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            CARL(Considered(), **bad)
