"""GradNorm: neutral, one move by hand, where it settles, no objects, and its place in a detector."""

import math

import pytest
import torch
from torch import nn

from imbdet import testing
from imbdet.remedies.objective.grad_norm import GradNorm

TWO = ("loss_cls", "loss_box_reg")


def made(**settings):
    """An objective over a layer of one weight w = 1, and a step of losses a w^2 / 2 and b w^2 / 2: gradients a, b."""
    objective, w = GradNorm(**settings), nn.Parameter(torch.ones(1))
    objective.build({"": (*TWO, [w])})

    def step(a, b):
        weighted, _ = objective({TWO[0]: a * w.square().sum() / 2, TWO[1]: b * w.square().sum() / 2})
        objective.end_step()
        return [weighted[name].item() for name in TWO]

    return objective, step


def test_neutral_is_the_plain_sum():
    objective, step = made(rate=0)
    assert [step(4, 1) for _ in range(3)] == [[2, 0.5]] * 3


def test_one_move_by_hand():
    """Gradients 3 and 1, both losses as at first: mean 2, wanted 2 and 2; log w moves by -0.1 x (1/2) and +0.1 x (1/2),
    then the sum is made 2.
    """
    objective, step = made(rate=0.1)
    step(3, 1)
    want = [math.exp(-0.05), math.exp(0.05)]
    assert objective.log_weights[0].exp().tolist() == pytest.approx([2 * v / sum(want) for v in want])
    assert (objective.log_weights[1:] == 0).all()


@pytest.mark.parametrize(("alpha", "ratio"), [(0.0, 1.0), (1.0, 2.0)])
def test_mechanism_gradients_become_equal_or_follow_what_is_left(alpha, ratio):
    """The second loss stands still, the first has fallen to half: with alpha 1 its gradient shall be half as large."""
    objective, step = made(rate=0.05, alpha=alpha)
    step(8, 1)
    for _ in range(300):
        weighted = step(4, 1)
    assert weighted[1] / weighted[0] == pytest.approx(ratio, rel=1e-3)


def test_without_objects_nothing_moves():
    objective, step = made()
    step(3, 1)
    before = objective.log_weights.clone()
    assert math.isfinite(sum(step(3, 0))) and torch.equal(objective.log_weights, before)


def test_in_a_detector():
    model = testing.tiny_detector("faster_rcnn", ["grad_norm"]).train()
    losses, stats = model(*testing.batch(2, 1, size=64))
    sum(losses.values()).backward()
    assert model.objective.log_weights[0].abs().min() > 0 and stats["grad_norm/loss_cls"] == 1
    assert not any("_points" in name for name in model.state_dict())
    with torch.no_grad():
        assert torch.isfinite(sum(model(*testing.batch(2, 1, size=64))[0].values()))


def test_wrong_settings():
    with pytest.raises(ValueError, match="must not be negative"):
        GradNorm(alpha=-1)
