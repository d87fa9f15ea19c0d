"""LossScale: losses as large as those they replace, over the first batches and never again; nothing else moves it."""

import functools

import pytest
import torch

from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.count import OperatorCount
from imbdet.modeling.criterion import Criterion
from imbdet.modeling.defaults import (
    AllRegions,
    Considered,
    SigmoidCrossEntropy,
    SmoothL1,
    SoftmaxCrossEntropy,
    ThresholdMatcher,
)
from imbdet.modeling.loss_scale import LossScale, ScaledCriterion
from imbdet.modeling.running_state import running_states
from imbdet.remedies.class_fg_bg.focal_loss import FocalLoss
from imbdet.remedies.spatial_regression.giou_loss import GIoULoss
from imbdet.remedies.spatial_regression.kl_loss import KLLoss
from imbdet.remedies.spatial_regression.l1_loss import L1Loss
from tests.helpers import K, regions

LABELS = [0, 3, -1, 2, 3, 1]


def batch(seed, k=K + 1, extra=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(6, k, generator=g), 0.3 * torch.randn(6, 4 + extra, generator=g), regions(LABELS)


def criterion(classification=None, regression=None, loss_scale=None, **more):
    """A criterion, scaled if there is a loss_scale."""
    kind = Criterion if loss_scale is None else functools.partial(ScaledCriterion, loss_scale=loss_scale)
    parts = classification or SoftmaxCrossEntropy(), regression or SmoothL1()
    return kind(ThresholdMatcher(), AllRegions(), *parts, Considered(), BoxCoder((10, 10, 5, 5)), K, **more)


def with_regression(regression, **more):
    return criterion(regression=regression, **more)


def step(made, *inputs):
    """Losses and stats of a batch that is a step of a training, or a validation under no_grad."""
    with running_states(made, ends_step=True):
        return made(*inputs)


def box_losses(made, batches, extra=0):
    return [step(made, *batch(i, extra=extra))[0]["loss_box_reg"].item() for i in range(batches)]


def test_the_mean_equals_that_of_the_loss_before():
    """With weight 10 and without: the factor makes up for either."""
    before = box_losses(criterion(regression_weight=0.7), 5)
    for weight in (1.0, 10.0):
        plain = box_losses(with_regression(GIoULoss(), regression_weight=weight), 5)
        scale = LossScale(regression=SmoothL1(), regression_weight=0.7, batches=5)
        made = with_regression(GIoULoss(), regression_weight=weight, loss_scale=scale)
        found = box_losses(made, 8)
        factor = sum(before) / sum(plain)
        assert found[0] == pytest.approx(before[0], rel=1e-5), "at first the ratio of the first batch"
        assert found[4] / plain[4] == pytest.approx(factor, rel=1e-5)
        settled = found[7] / with_regression(GIoULoss(), regression_weight=weight)(*batch(7))[0]["loss_box_reg"].item()
        assert settled == pytest.approx(factor, rel=1e-5)
        assert made.loss_scale.seen == 5


def test_neutral_the_same_loss_keeps_its_size_bit_for_bit():
    made = with_regression(L1Loss(), loss_scale=LossScale(regression=SmoothL1()))
    assert box_losses(made, 4) == box_losses(criterion(), 4)
    assert all(criterion()(*batch(i))[0]["loss_cls"] == made(*batch(i))[0]["loss_cls"] for i in range(2))


def test_stats_name_what_is_matched():
    stats = with_regression(GIoULoss(), loss_scale=LossScale(regression=SmoothL1()))(*batch(0))[1]
    assert [name for name in stats if name.startswith("loss_scale/")] == ["loss_scale/regression"]
    assert not stats["loss_scale/regression"].requires_grad


def test_gradient_is_that_of_the_loss_times_the_factor():
    logits, deltas, m = batch(0)
    grads = {}
    for scale in (None, LossScale(regression=SmoothL1())):
        x = deltas.clone().requires_grad_()
        losses, stats = with_regression(GIoULoss(), loss_scale=scale)(logits, x, m)
        losses["loss_box_reg"].backward()
        grads[scale is None] = x.grad
    assert torch.allclose(grads[False], grads[True] * stats["loss_scale/regression"])


def test_classification_of_the_same_logits_with_weighting_and_its_own_normalizer():
    def half(classification, regression, matched):
        return (torch.full_like(classification, 0.5), torch.ones_like(regression)), {}

    scale = LossScale(classification=SigmoidCrossEntropy(), classification_weight=2.0)
    made = criterion(FocalLoss(), weighting=half, loss_scale=scale)
    before = criterion(SigmoidCrossEntropy(), weighting=half, classification_weight=2.0)
    found, want = (c(*batch(0, k=K))[0] for c in (made, before))
    assert found["loss_cls"].item() == pytest.approx(want["loss_cls"].item(), rel=1e-5)
    assert found["loss_box_reg"] == want["loss_box_reg"]


def test_validation_moves_nothing_and_uses_what_is_there():
    made = with_regression(GIoULoss(), loss_scale=LossScale(regression=SmoothL1()))
    box_losses(made, 2)
    kept = {name: value.clone() for name, value in made.loss_scale.state_dict().items()}
    with torch.no_grad():
        seen = step(made, *batch(9))[1]["loss_scale/regression"]
    made.eval()
    box_losses(made, 2)
    assert all(torch.equal(value, kept[name]) for name, value in made.loss_scale.state_dict().items())
    assert seen == kept["before"][1] / kept["now"][1]


def test_before_the_first_batch_the_factor_is_1():
    with torch.no_grad():
        stats = step(with_regression(GIoULoss(), loss_scale=LossScale(regression=SmoothL1())), *batch(0))[1]
    assert stats["loss_scale/regression"] == 1


def test_batches_without_objects_leave_the_factor_and_are_counted():
    made = with_regression(GIoULoss(), loss_scale=LossScale(regression=SmoothL1()))
    logits, deltas, _ = batch(0)
    losses, stats = step(made, logits, deltas, regions([3, 3, -1, 3, 3, 3]))
    assert losses["loss_box_reg"] == 0 and stats["loss_scale/regression"] == 1 and made.loss_scale.seen == 1


def test_it_resumes():
    def fresh():
        return with_regression(GIoULoss(), loss_scale=LossScale(regression=SmoothL1(), batches=3))

    whole = fresh()
    want = box_losses(whole, 6)
    for stop in (2, 5):
        first, second = fresh(), fresh()
        box_losses(first, stop)
        step(second, *batch(50))  # it has been used before: what it knew of its count is gone
        second.load_state_dict(first.state_dict())
        assert [step(second, *batch(i))[0]["loss_box_reg"].item() for i in range(stop, 6)] == want[stop:]


def test_afterwards_nothing_is_measured_and_nothing_waits():
    class Counting(SmoothL1):
        calls = 0

        def __call__(self, *args):
            type(self).calls += 1
            return super().__call__(*args)

    made = with_regression(GIoULoss(), loss_scale=LossScale(regression=Counting(), batches=2))
    step(made, *batch(0))
    batches = [batch(i) for i in range(1, 6)]
    with OperatorCount() as count:
        for one in batches:
            step(made, *one)
    assert Counting.calls == 2 and count.synchronizations == 0


def test_values_beside_the_deltas_are_cut_off_for_the_loss_before():
    made = with_regression(KLLoss(), loss_scale=LossScale(regression=SmoothL1()))
    found = made(*batch(0, extra=4))[0]["loss_box_reg"].item()
    logits, deltas, m = batch(0, extra=4)
    assert found == pytest.approx(criterion()(logits, deltas[:, :4], m)[0]["loss_box_reg"].item(), rel=1e-5)


def test_processes_add_up(monkeypatch):
    """All have the sums of all, so one factor; here the other process has seen twice of the same."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda both: both.mul_(3))
    made = with_regression(GIoULoss(), loss_scale=LossScale(regression=SmoothL1()))
    alone = with_regression(GIoULoss())(*batch(0))[0]["loss_box_reg"].item()
    step(made, *batch(0))
    assert made.loss_scale.now[1].item() == pytest.approx(3 * alone, rel=1e-5) and made.loss_scale.seen == 1


class Shifted(SoftmaxCrossEntropy):
    """As many logits, but other scores of them."""

    def scores(self, logits):
        return (logits * 2).softmax(dim=-1)[..., :-1]


@pytest.mark.parametrize("new", [FocalLoss(), Shifted()])
def test_losses_that_read_other_logits_are_refused(new):
    with pytest.raises(ValueError, match="do not read the same logits .* set loss_scale=published and .* by hand"):
        criterion(new, loss_scale=LossScale(classification=SoftmaxCrossEntropy()))


def test_a_loss_before_that_needs_more_of_the_head_is_refused():
    with pytest.raises(ValueError, match="KLLoss needs outputs that SmoothL1 does not"):
        criterion(loss_scale=LossScale(regression=KLLoss()))
    with pytest.raises(ValueError, match="batches must be at least 1"):
        LossScale(batches=0)
