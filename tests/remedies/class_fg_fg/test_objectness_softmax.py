"""Objectness softmax: by hand, a loop, scores that add up, what is refused, the mechanism."""

import math

import pytest
import torch

from imbdet.config import load_config
from imbdet.remedies.class_fg_fg.objectness_softmax import ObjectnessSoftmax
from imbdet.testing import regions


def test_by_hand():
    """Zeros: objects pay log K + log 2, background log 2."""
    values, _ = ObjectnessSoftmax()(torch.zeros(3, 5), regions([0, 3, -1], 3))
    assert values.tolist() == pytest.approx([math.log(3) + math.log(2), math.log(2), 0])


def test_a_loop_and_the_gradient():
    labels, logits = [0, 2, 3, -1], torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    loss, m = ObjectnessSoftmax(), regions([0, 2, 3, -1], 3)
    for value, row, label in zip(loss(logits, m)[0].tolist(), logits.tolist(), labels, strict=True):
        want = 0.0
        if label >= 0:
            want += math.log(sum(math.exp(z) for z in row[3:])) - row[3 + (label == 3)]
        if 0 <= label < 3:
            want += math.log(sum(math.exp(z) for z in row[:3])) - row[label]
        assert value == pytest.approx(want, rel=1e-6, abs=1e-12)
    assert torch.autograd.gradcheck(lambda x: loss(x, m)[0], logits)


def test_scores_and_background_add_up():
    logits, loss = torch.randn(6, 5), ObjectnessSoftmax()
    assert torch.allclose(loss.scores(logits).sum(dim=1) + loss.background(logits), torch.ones(6))
    one = loss.scores(torch.tensor([[0.0, 1.0, 0.0]]))  # a single class: the score is P(object)
    assert one.item() == pytest.approx(1 / (1 + math.exp(-1)))


def test_mechanism_background_does_not_move_the_class_logits():
    z = torch.zeros(2, 5, requires_grad=True)
    ObjectnessSoftmax()(z, regions([3, 0], 3))[0].sum().backward()
    assert (z.grad[0, :3] == 0).all() and z.grad[1, 0] < 0 < z.grad[0, 3]


def test_dense_heads_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="'objectness_softmax' does not fit.*sampled"):
        load_config("baselines/retinanet_shapes", ["objectness_softmax"])
