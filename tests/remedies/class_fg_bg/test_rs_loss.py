"""Rank and sort loss: neutral, by hand, a naive double loop, no objects, and scores that follow the IoU."""

import pytest
import torch

from imbdet.modeling.boxes import paired_iou
from imbdet.remedies.class_fg_bg.ap_loss import APLoss
from imbdet.remedies.class_fg_bg.rs_loss import RSLoss
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


def test_neutral_without_sorting_it_is_the_ranking_error():
    """Which is AP loss of the same delta."""
    matched, logits = regions([0, K, 2, 1, K]), torch.randn(5, K)
    for a, b in zip(
        gradient_of(RSLoss(sort=False), logits, matched), gradient_of(APLoss(0.5), logits, matched), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-6)


def two(scores, iou):
    """Two positives of class 0 with these logits and IoU, nothing else near."""
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 2)
    targets = torch.tensor([[0.0, 0, 10, 10 * u] for u in iou])
    logits = torch.full((2, K), -50.0)
    logits[:, 0] = torch.tensor(scores)
    return gradient_of(RSLoss(), logits, regions([0, 0], boxes=boxes, targets=targets))


def test_by_hand():
    """IoU 0.4 far above IoU 0.8. Of the lower: current = (0.6 + 0.2) / 2 = 0.4, target 0.2: error 0.2, and the upper is
    pushed down by as much. Of the upper itself: both are 0.6, no error.
    """
    values, gradient = two([9.0, 0.0], [0.4, 0.8])
    assert values.tolist() == pytest.approx([0, 0.2], abs=1e-6)
    assert gradient[:, 0].tolist() == pytest.approx([0.2, -0.2], abs=1e-6)
    assert two([0.0, 9.0], [0.4, 0.8])[0].tolist() == pytest.approx([0, 0], abs=1e-6), "in order"


def test_a_naive_loop():
    matched = regions([0, K, 2, 1, -1, K, 0, K, 1], deltas=0.3 * torch.randn(9, 4))
    logits = torch.randn(9, K, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with Waits() as waits:
        RSLoss()(logits.float(), matched)
    values, gradient = gradient_of(RSLoss(), logits.float(), matched)
    y = paired_iou(matched.regressed(), matched.targets).tolist()
    positive, negative = lists(logits, matched)
    want = torch.zeros_like(logits)
    for (r, k), z in positive:
        fp = [step(x - z, 0.5) for _, x in negative]
        h = [1.0 if p == (r, k) else step(x - z, 0.5) for p, x in positive]
        ranking = sum(fp) / (sum(h) + sum(fp))
        right = [a if y[p[0]] >= y[r] else 0.0 for a, (p, _) in zip(h, positive, strict=True)]
        cost = [1 - y[p[0]] for p, _ in positive]
        current = sum(a * b for a, b in zip(h, cost, strict=True)) / sum(h)
        sorting = max(0, current - sum(a * b for a, b in zip(right, cost, strict=True)) / sum(right))
        assert values[r].item() == pytest.approx(ranking + sorting, abs=1e-5)
        want[r, k] -= ranking + sorting
        for (place, _), a in zip(negative, fp, strict=True):
            want[place] += a / (sum(h) + sum(fp))
        wrong = [a - b for a, b in zip(h, right, strict=True)]
        for (place, _), a in zip(positive, wrong, strict=True):
            want[place] += sorting * a / sum(wrong) if sum(wrong) else 0.0
    assert torch.allclose(gradient.double(), want, atol=1e-5) and not waits.found


@pytest.mark.parametrize("labels", [[K, K, -1], [-1, -1, -1]])
def test_no_objects(labels):
    """The authors' code returns 1 here, without a gradient; a loss of 0 has none either, and can be summed."""
    values, gradient = gradient_of(RSLoss(), torch.randn(3, K), regions(labels))
    assert (values == 0).all() and (gradient == 0).all()


def test_mechanism_scores_come_to_follow_the_iou():
    scores, iou = [0.5, 0.0], [0.4, 0.8]
    for _ in range(30):
        _, gradient = two(scores, iou)
        scores = [s - g for s, g in zip(scores, gradient[:, 0].tolist(), strict=True)]
    assert scores[1] > scores[0] and RSLoss(delta=0.1).delta == 0.1
