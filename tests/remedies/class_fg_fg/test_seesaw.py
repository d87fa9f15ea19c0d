"""Seesaw: neutral, by hand, a loop over steps, the counts, errors below eps, the mechanism."""

import math

import pytest
import torch

from imbdet.config import load_config
from imbdet.remedies.class_fg_fg.objectness_softmax import ObjectnessSoftmax
from imbdet.remedies.class_fg_fg.seesaw import Seesaw
from imbdet.testing import regions


def test_neutral_is_objectness_softmax_and_so_it_is_before_classes_differ():
    m, logits = regions([0, 1, 2, 3, -1], 3), torch.randn(5, 5)
    want = ObjectnessSoftmax()(logits, m)[0]
    assert torch.allclose(Seesaw(3, p=0, q=0)(logits, m)[0], want, atol=1e-6)
    assert torch.allclose(Seesaw(3, q=0)(logits, m)[0], want, atol=1e-6)  # one region of each class


def test_by_hand():
    """Counts 15 + 1 and 1, p = 1/2: for class 0 the other is lowered by log sqrt(1/16) = -log 4; q = 1: class 0 is at
    s = 1/5, the other at 4/5, raised by log 4. Together nothing: log 5. And log 2 of objectness.
    """
    loss = Seesaw(2, p=0.5, q=1)
    loss.counts.copy_(torch.tensor([15, 0]))
    logits = torch.tensor([[0.0, math.log(4), 0, 0]])
    assert loss(logits, regions([0], 2))[0].item() == pytest.approx(math.log(5) + math.log(2), rel=1e-5)
    assert Seesaw(2, p=0, q=1)(logits, regions([0], 2))[0].item() == pytest.approx(math.log(17) + math.log(2), rel=1e-5)


def test_steps_against_a_loop_and_the_gradient():
    loss, counts, g = Seesaw(3), [0, 0, 0], torch.Generator().manual_seed(0)
    for labels in ([0, 0, 0, 1, 3, -1], [0, 1, 2, 0, 3, 3]):
        logits, m = 2 * torch.randn(6, 5, generator=g), regions(labels, 3)
        counts = [n + labels.count(c) for c, n in enumerate(counts)]
        n = [max(v, 1) for v in counts]
        values, _ = loss(logits, m)
        for value, row, y in zip(values.tolist(), logits.tolist(), labels, strict=True):
            if y < 0:
                continue
            want = math.log(sum(math.exp(z) for z in row[3:])) - row[3 + (y == 3)]
            if y < 3:
                s = [math.exp(z) / sum(math.exp(v) for v in row[:3]) for z in row[:3]]
                z = list(row[:3])
                for j in {0, 1, 2} - {y}:
                    z[j] += math.log((n[j] / n[y]) ** 0.8 if n[j] < n[y] else 1)
                    z[j] += math.log((s[j] / max(s[y], 0.01)) ** 2 if s[j] > max(s[y], 0.01) else 1)
                want += math.log(sum(map(math.exp, z))) - z[y]
            assert value == pytest.approx(want, rel=1e-4)
        loss.end_step()
        assert loss.counts.tolist() == counts


def test_an_error_below_eps_has_a_limit():
    """s_y = 1e-9 counts as eps: without it the shift would be 2 log 1e9 = 41, with it 2 log 100 = 9.2."""
    logits = torch.tensor([[0.0, math.log(1e9), 0, 0]], requires_grad=True)
    value = Seesaw(2, p=0)(logits, regions([0], 2))[0]
    assert value.item() == pytest.approx(math.log(1e9) + 2 * math.log(100) + math.log(2), rel=1e-4)
    value.sum().backward()
    assert logits.grad.abs().max() <= 1


def test_the_count_of_long_trainings_stays_exact():
    """The trap: float32 stops at 16.7 million."""
    loss = Seesaw(2)
    loss.counts.fill_(2**24)
    loss(torch.zeros(1, 4), regions([0], 2)), loss.end_step()
    assert loss.counts.tolist() == [2**24 + 1, 2**24]


def test_mechanism_a_rare_class_is_pushed_down_less_by_a_frequent_one():
    loss = Seesaw(3, q=0)
    loss.counts.copy_(torch.tensor([1000, 500, 5]))
    z = torch.zeros(2, 5, requires_grad=True)
    loss(z, regions([0, 2], 3))[0].sum().backward()
    assert 0 < z.grad[0, 2] < 0.05 * z.grad[0, 1] and z.grad[1, 0] == pytest.approx(1 / 3)


def test_dense_heads_are_refused_and_wrong_settings():
    with pytest.raises(ValueError, match="'seesaw' does not fit.*sampled"):
        load_config("baselines/retinanet_shapes", ["seesaw"])
    for bad in ({"p": -1}, {"q": -1}, {"eps": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Seesaw(2, **bad)
