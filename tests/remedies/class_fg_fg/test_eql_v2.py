"""EQL v2: neutral, by hand, two steps of a loop, scores, state, the mechanism."""

import math

import pytest
import torch

from imbdet.modeling.defaults import one_hot
from imbdet.remedies.class_fg_fg.eql_v2 import EQLv2
from imbdet.testing import regions


def plain(logits, labels, num_classes):
    target = one_hot(torch.tensor(labels), num_classes + 1, logits.dtype)
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1)


def test_neutral_is_cross_entropy_of_all_sigmoids_and_the_first_step_nearly_so():
    labels, logits = [0, 1, 2, 3], torch.randn(4, 4)
    m = regions(labels, 3)
    neutral = EQLv2(3, alpha=0, mu=-1e6)
    for _ in range(3):
        assert torch.allclose(neutral(logits, m)[0], plain(logits, labels, 3), atol=1e-6)
        neutral.end_step()
    assert torch.allclose(EQLv2(3)(logits, m)[0], plain(logits, labels, 3), atol=1e-6)


def test_by_hand():
    """g = 0.8 = mu: negatives weigh 1/2, positives 1 + 4/2 = 3, background 1; z = 0, log 2 each."""
    loss = EQLv2(2)
    loss.positive.fill_(0.8), loss.negative.fill_(1.0)
    values, _ = loss(torch.zeros(2, 3), regions([0, 2], 2))
    assert values.tolist() == pytest.approx([(3 + 0.5 + 1) * math.log(2), (0.5 + 0.5 + 1) * math.log(2)], rel=1e-5)


def test_steps_against_a_loop():
    loss, g = EQLv2(2, gamma=3, mu=0.5, alpha=2), torch.Generator().manual_seed(0)
    labels, pos, neg = [0, 2, 2, 1, -1], [0.0, 0.0], [0.0, 0.0]
    for _ in range(3):
        logits = torch.randn(5, 3, generator=g)
        ratio = [p / (n + 1e-10) if n else 100 for p, n in zip(pos, neg, strict=True)]
        r = [1 / (1 + math.exp(-3 * (v - 0.5))) for v in ratio]
        want = []
        for row, label in zip(logits.tolist(), labels, strict=True):
            total = 0.0
            for j, z in enumerate(row):
                p, hit = 1 / (1 + math.exp(-z)), j == label
                w = 1 if j == 2 else 1 + 2 * (1 - r[j]) if hit else r[j]
                total -= w * math.log(p if hit else 1 - p)
                if j < 2 and label >= 0:
                    (pos if hit else neg)[j] += w * abs(p - hit)
            want.append(total)
        values, _ = loss(logits, regions(labels, 2))
        loss.end_step()
        assert values[:4].tolist() == pytest.approx(want[:4], rel=1e-4)
        assert loss.positive.tolist() == pytest.approx(pos, rel=1e-4)
        assert loss.negative.tolist() == pytest.approx(neg, rel=1e-4)


def test_scores_are_those_of_the_class_times_what_background_leaves():
    """The trap: taken for a softmax, as a port that forgets its own scores does, they would be others."""
    logits = torch.tensor([[1.0, -1.0, 2.0]])
    left = 1 - torch.sigmoid(torch.tensor(2.0))
    assert torch.allclose(EQLv2(2).scores(logits), logits[:, :2].sigmoid() * left)
    assert EQLv2(2).background(logits) is None and torch.sigmoid(torch.tensor(EQLv2(2).initial_bias(2))) < 0.0011


def test_no_objects_and_a_class_never_seen():
    loss = EQLv2(2)
    for labels in ([2, 2, -1], [0, 2, -1]):
        assert torch.isfinite(loss(torch.randn(3, 3), regions(labels, 2))[0]).all()
        loss.end_step()
    assert loss.ratio(100.0)[1] == 0 and (loss.positive >= 0).all()


def test_mechanism_the_class_without_positives_is_no_longer_pushed_down():
    m = regions([0] * 50 + [1] + [2] * 49, 2)
    loss, z = EQLv2(2), torch.zeros(100, 3, requires_grad=True)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(loss(z, m)[0].sum(), z)
        loss.end_step()
    pushed = gradient.clamp(min=0).sum(dim=0)
    assert pushed[1] < 0.001 * pushed[0] and -gradient[50, 1] > 2


def test_the_counts_of_long_trainings_and_wrong_settings():
    loss = EQLv2(1)
    loss.negative.fill_(2.0**30)
    loss(torch.zeros(1, 2), regions([1], 1)), loss.end_step()
    assert loss.negative > 2.0**30
    with pytest.raises(ValueError, match="alpha"):
        EQLv2(1, alpha=-1)
