"""aLRP loss: neutral, by hand, the source's loop over positives, no objects, and what ranks high has to fit."""

import math

import pytest
import torch

from imbdet.remedies.class_fg_bg.alrp_loss import ALRPBoxes, ALRPLoss
from imbdet.remedies.class_fg_bg.ap_loss import APLoss
from imbdet.remedies.spatial_regression.giou_loss import GIoULoss
from tests.helpers import K, Waits, criterion, regions


def gradient_of(loss, logits, matched):
    logits = logits.clone().requires_grad_()
    values, _ = loss(logits, matched)
    values.where(matched.considered, 0.0).sum().backward()
    return values.detach(), logits.grad


def boxes_of(logits, values, matched):
    """The boxes' loss with weight 1, and its gradient by the box values."""
    values = values.clone().requires_grad_()
    module = ALRPBoxes(ALRPLoss(), period=3, start=1.0)
    with Waits() as waits:
        found, _ = module(logits, torch.zeros(len(logits), 4), (torch.zeros_like(values), values), matched)
    found["loss_alrp_box"].backward()
    assert not waits.found
    return found["loss_alrp_box"].item(), values.grad


def pair(scores, negative, misfit):
    """Two positives of class 0 and one negative with these logits, and the GIoU loss of each positive."""
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 3)
    targets = torch.tensor([[0.0, 0, 10, 10 * (1 - e)] for e in misfit] + [[0.0, 0, 10, 10]])
    logits = torch.full((3, K), -50.0)
    logits[:2, 0], logits[2, 0] = torch.tensor(scores), negative
    return logits, regions([0, 0, K], boxes=boxes, targets=targets)


def test_neutral_boxes_that_all_fit_give_ap_loss():
    matched, logits = regions([0, K, 2, 1, K], deltas=0.3 * torch.randn(5, 4)), torch.randn(5, K)
    ours, plain = gradient_of(ALRPLoss(-math.inf), logits, matched), gradient_of(APLoss(), logits, matched)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, plain, strict=True))
    _, other = gradient_of(ALRPLoss(), logits, matched)
    assert not torch.allclose(other, plain[1], atol=1e-3)


def test_by_hand():
    """Positives at 9 (GIoU loss 0.4) and 0, a negative at 0: of the lower FP 1/2, rank 1 + 1 + 1/2, error 0.2, pull
    (0.5 + 0.4) / 2.5 = 0.36, all of it taken from the negative. The upper has none above it. Boxes: (0.4 / 1 + (0.4 +
    e) / 2.5) / 2 with e = 0.
    """
    logits, matched = pair([9.0, 0.0], 0.0, [0.4, 0.0])
    values, gradient = gradient_of(ALRPLoss(), logits, matched)
    assert values.tolist() == pytest.approx([0, 0.2, 0], abs=1e-6)
    assert gradient[:, 0].tolist() == pytest.approx([0, -0.36, 0.36], abs=1e-6)
    value, by = boxes_of(logits, torch.tensor([0.4, 0.0, 0.0]), matched)
    assert value == pytest.approx((0.4 + 0.4 / 2.5) / 2) and by.tolist() == pytest.approx([0.7, 0.2, 0.0])


@pytest.mark.parametrize("delta", [1.0, 0.3])
def test_a_naive_loop(delta):
    g = torch.Generator().manual_seed(0)
    matched = regions([0, K, 2, 1, -1, K, 0, K, 1], deltas=0.3 * torch.randn(9, 4, generator=g))
    logits = 2 * torch.randn(9, K, generator=g)
    with Waits() as waits:
        ALRPLoss(delta=delta)(logits, matched)
    values, gradient = gradient_of(ALRPLoss(delta=delta), logits, matched)
    misfit = GIoULoss().between(matched.regressed(), matched.targets)
    labels, want = matched.labels.tolist(), torch.zeros_like(logits)
    positive = [(r, k) for r, k in enumerate(labels) if 0 <= k < K]
    negative = [(r, k) for r, label in enumerate(labels) for k in range(K) if label >= 0 and k != label]
    rank = {}

    def h(a, b):
        return min(max((logits[a] - logits[b]).item() / (2 * delta) + 0.5, 0), 1)

    for i in positive:
        others = [j for j in positive if j != i]
        fp = sum(h(j, i) for j in negative)
        rank[i] = 1 + sum(h(j, i) for j in others) + fp
        assert values[i[0]].item() == pytest.approx(fp / rank[i], abs=1e-5)
        if fp > 1e-5:
            pull = (sum(h(j, i) * misfit[j[0]].item() for j in others) + fp) / rank[i]
            want[i] -= pull
            for j in negative:
                want[j] += h(j, i) * pull / fp
    assert torch.allclose(gradient, want, atol=1e-5) and not waits.found and (gradient[4] == 0).all()

    if delta == 1.0:
        order = sorted(positive, key=lambda i: -logits[i].item())
        best = sum(sum(misfit[j[0]].item() for j in order[: n + 1]) / rank[i] for n, i in enumerate(order))
        value, _ = boxes_of(logits, misfit.where(matched.foreground, 0.0), matched)
        assert value == pytest.approx(best / len(order), rel=1e-5)


@pytest.mark.parametrize("labels", [[K, K, -1], [-1, -1, -1]])
def test_no_objects(labels):
    logits, matched = torch.randn(3, K), regions(labels)
    assert all((x == 0).all() for x in gradient_of(ALRPLoss(), logits, matched))
    value, by = boxes_of(logits, torch.zeros(3), matched)
    assert value == 0 and (by == 0).all()


def test_the_weight_of_the_boxes_is_set_after_each_period():
    """Ranking 0.1 and boxes 0.28 a step: after 3 steps the weight is 0.38 / 0.28; the three before had the start."""
    logits, matched = pair([9.0, 0.0], 0.0, [0.4, 0.0])
    module = ALRPBoxes(ALRPLoss(), period=30, periods=10, start=7.0).train()
    values = ALRPLoss()(logits, matched)[0], torch.tensor([0.4, 0.0, 0.0])
    seen = []
    for _ in range(4):
        seen.append(module(logits, torch.zeros(3, 4), values, matched)[0]["loss_alrp_box"].item())
        module.end_step()
    assert seen[:3] == pytest.approx([7 * 0.28] * 3) and seen[3] == pytest.approx(0.38)
    assert module.weight.item() == pytest.approx(0.38 / 0.28)


def test_in_a_criterion_nothing_else_trains_the_boxes():
    logits, matched = pair([9.0, 0.0], 0.0, [0.4, 0.0])
    rule, deltas = ALRPLoss(), torch.zeros(3, 4, requires_grad=True)
    made = criterion(rule, regression=GIoULoss(), regression_weight=0.0, coupling=ALRPBoxes(rule, period=3))
    losses, _ = made(logits, deltas, matched)
    assert losses["loss_box_reg"] == 0 and losses["loss_alrp_box"].item() == pytest.approx(50 * 0.28)
    losses["loss_alrp_box"].backward()
    assert deltas.grad[0].abs().sum() > 0 and (deltas.grad[2] == 0).all()


def test_mechanism_a_box_that_ranks_high_is_fitted_more():
    misfit = torch.tensor([0.3, 0.3, 0.0])
    _, by = boxes_of(*(lambda one: (one[0], misfit, one[1]))(pair([4.0, 0.0], -9.0, [0.3, 0.3])))
    assert by[0] > 2 * by[1] > 0
    with pytest.raises(ValueError, match="tau is an IoU below 1"):
        ALRPLoss(tau=1.0)
