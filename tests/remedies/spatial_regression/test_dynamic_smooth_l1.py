"""Dynamic smooth L1: neutral, by hand, a naive loop over steps, no foreground, and a beta that follows."""

import pytest
import torch

from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_regression.dynamic_smooth_l1 import DynamicSmoothL1
from tests.helpers import K, Waits, regions

CODER = BoxCoder((10, 10, 5, 5))


def off(shifts, labels=None):
    """Regions of 10 px whose objects are moved in x and y by these shares of it: mean |dx|, |dy| is 10 times that."""
    boxes = torch.tensor([[0.0, 0, 10, 10]] * len(shifts))
    targets = boxes + 10 * torch.tensor(shifts)[:, None]
    return regions(labels or [0] * len(shifts), boxes=boxes, targets=targets)


def test_neutral_is_smooth_l1():
    loss, matched, deltas = DynamicSmoothL1(initial=0.3, topk=0, interval=1), off([0.1, 0.02]), torch.randn(2, 4)
    for _ in range(2):
        assert torch.allclose(loss(deltas, matched, CODER)[0], SmoothL1(0.3)(deltas, matched, CODER)[0])
        loss.end_step()


def test_by_hand():
    """Means 0.5, 0.2 and 3 of one image: the second smallest is 0.5, beta after one step; an error of 0.1 costs
    0.01 / 2 before and 0.01 / 1 after.
    """
    loss, matched = DynamicSmoothL1(topk=2, interval=1), off([0.05, 0.02, 0.3])
    deltas = CODER.encode(matched.boxes, matched.targets)
    deltas[:, 0] += 0.1
    assert loss(deltas, matched, CODER)[0].tolist() == pytest.approx([0.005] * 3, abs=1e-5)
    loss.end_step()
    assert loss.beta.item() == pytest.approx(0.5, abs=1e-5)
    assert loss(deltas, matched, CODER)[0].tolist() == pytest.approx([0.01] * 3, abs=1e-5)


def test_a_naive_loop():
    loss, held, beta = DynamicSmoothL1(topk=2, interval=3), [], 1.0
    g = torch.Generator().manual_seed(0)
    for step in range(9):
        shifts = (0.2 * torch.rand(5, generator=g)).tolist()
        matched = off(shifts, [0, K, 1, -1, 2])
        with Waits() as waits:
            stats = loss(torch.zeros(5, 4), matched, CODER)[1]
            loss.end_step()
        assert not waits.found and stats["dynamic_smooth_l1/beta"].item() == pytest.approx(beta)
        held.append(10 * sorted(shifts[i] for i in (0, 2, 4))[1])
        if step % 3 == 2:
            beta, held = min(1.0, sorted(held)[1]), []
        assert loss.beta.item() == pytest.approx(beta, rel=1e-4)


def test_no_foreground_leaves_it_alone():
    loss = DynamicSmoothL1(interval=1)
    deltas = torch.zeros(2, 4, requires_grad=True)
    values, _ = loss(deltas, off([0.1, 0.1], [K, -1]), CODER)
    values.sum().backward()
    loss.end_step()
    assert loss.beta == 1 and loss.steps == 0 and torch.isfinite(deltas.grad).all()
    for bad in ({"initial": 0}, {"topk": -1}, {"interval": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            DynamicSmoothL1(**bad)


def test_gradient_in_float64():
    matched = off([0.1, 0.02, 0.3])
    deltas = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    loss = DynamicSmoothL1().eval()
    assert torch.autograd.gradcheck(lambda x: loss(x, matched, CODER)[0], deltas)


def test_mechanism_as_proposals_improve_small_errors_get_more_gradient():
    loss, found = DynamicSmoothL1(topk=1, interval=2), []
    for shift in (0.2, 0.05, 0.01):
        for _ in range(2):
            loss(torch.zeros(2, 4), off([shift, shift]), CODER)
            loss.end_step()
        matched = off([0.0])
        deltas = torch.full((1, 4), 0.05, requires_grad=True)
        loss.eval()(deltas, matched, CODER)[0].sum().backward()
        loss.train()
        found.append(deltas.grad[0, 0].item())
    assert found == pytest.approx([0.05, 0.1, 0.5], rel=1e-3)
