"""AP loss: by hand, a naive double loop, cuts that change nothing, no objects, easy background that costs nothing."""

import pytest
import torch

from imbdet.remedies.class_fg_bg.ap_loss import APLoss
from tests.helpers import K, Waits, regions


def gradient_of(loss, logits, matched):
    logits = logits.clone().requires_grad_()
    values, _ = loss(logits, matched)
    values.where(matched.considered, 0.0).sum().backward()
    return values.detach(), logits.grad


def step(x, delta):
    return min(max(x / (2 * delta) + 0.5, 0), 1)


def lists(logits, matched):
    """(place, logit) of positives and negatives."""
    positive, negative = [], []
    for r, label in enumerate(matched.labels.tolist()):
        for k in range(K):
            if label >= 0:
                (positive if k == label else negative).append(((r, k), logits[r, k].item()))
    return positive, negative


def test_by_hand():
    """One positive at 0, negatives at 0 (H = 1/2) and 9 (H = 1), the rest far below: FP 1.5, rank 2.5, error 0.6."""
    logits = torch.full((2, K), -50.0)
    logits[0, 0], logits[1, 0], logits[1, 1] = 0.0, 0.0, 9.0
    values, gradient = gradient_of(APLoss(), logits, regions([0, K]))
    assert values.tolist() == pytest.approx([0.6, 0])
    want = torch.zeros(2, K)
    want[0, 0], want[1, 0], want[1, 1] = -0.6, 0.2, 0.4
    assert torch.allclose(gradient, want)


@pytest.mark.parametrize("delta", [1.0, 0.3])
def test_a_naive_loop(delta):
    matched = regions([0, K, 2, 1, -1, K, 0, K, 1])
    logits = 2 * torch.randn(9, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with Waits() as waits:
        APLoss(delta)(logits, matched)
    values, gradient = gradient_of(APLoss(delta), logits, matched)
    positive, negative = lists(logits, matched)
    want = torch.zeros_like(logits)
    for (r, k), z in positive:
        fp = [step(x - z, delta) for _, x in negative]
        rank = 1 + sum(step(x - z, delta) for place, x in positive if place != (r, k)) + sum(fp)
        assert values[r].item() == pytest.approx(sum(fp) / rank)
        want[r, k] -= sum(fp) / rank
        for (place, _), h in zip(negative, fp, strict=True):
            want[place] += h / rank
    assert torch.allclose(gradient, want) and not waits.found and (gradient[4] == 0).all()


def test_trap_the_gradient_of_positives_and_negatives_sums_to_zero_and_cuts_keep_the_hardest():
    matched, logits = regions([0, 1, 2] + [K] * 30), torch.randn(33, K)
    _, gradient = gradient_of(APLoss(), logits, matched)
    assert gradient.sum().abs() < 1e-5
    logits[3:] = -20.0
    logits[3, 0] = 5.0
    whole, cut = (gradient_of(APLoss(negatives=n), logits, matched)[1] for n in (5000, 8))
    assert torch.allclose(whole, cut), "negatives that rank below all positives have no part"


@pytest.mark.parametrize("labels", [[K, K, -1], [-1, -1, -1]])
def test_no_objects(labels):
    values, gradient = gradient_of(APLoss(), torch.randn(3, K), regions(labels))
    assert (values == 0).all() and (gradient == 0).all()


def test_mechanism_a_hundred_times_as_many_easy_negatives_cost_nothing():
    few, many = (torch.cat((torch.zeros(2, K), torch.full((n, K), -9.0))) for n in (10, 1000))
    a, b = (gradient_of(APLoss(), z, regions([0, 1] + [K] * (len(z) - 2)))[0].sum() for z in (few, many))
    assert a == b > 0


def test_bad_settings():
    for bad in ({"delta": 0}, {"positives": 0}, {"negatives": 0}, {"prior": 1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            APLoss(**bad)
