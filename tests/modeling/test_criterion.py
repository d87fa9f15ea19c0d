"""The one criterion: a naive loop, ignored regions, no foreground, weights, gradients that stay where they belong."""

import math

import pytest
import torch

from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.criterion import assign
from imbdet.modeling.defaults import (
    Considered,
    FixedWeights,
    Foreground,
    ForegroundAverage,
    PerImage,
    SigmoidCrossEntropy,
    SmoothL1,
    SoftmaxCrossEntropy,
)
from imbdet.modeling.running_state import running_states
from imbdet.structures import Objects
from tests.helpers import K, criterion, regions


def naive(logits, deltas, m, coder):
    """Region by region, in float64: sums of cross entropy and of L1."""
    ce = l1 = 0.0
    for i, label in enumerate(m.labels.tolist()):
        if label < 0:
            continue
        row = logits[i].double()
        ce += (row.logsumexp(0) - row[label]).item()
        if label < K:
            l1 += (deltas[i].double() - coder.encode(m.boxes[i].double(), m.targets[i].double())).abs().sum().item()
    return ce, l1


def test_against_a_naive_loop():
    m = regions([0, 3, -1, 2, 3, 1, -1])
    logits, deltas = torch.randn(7, K + 1), torch.randn(7, 4)
    losses, stats = criterion(classification_weight=2.0)(logits, deltas, m)
    ce, l1 = naive(logits, deltas, m, BoxCoder((10, 10, 5, 5)))
    assert losses["loss_cls"].item() == pytest.approx(2 * ce / 5, rel=1e-5)
    assert losses["loss_box_reg"].item() == pytest.approx(l1 / 5, rel=1e-5)
    assert stats["regions"].classification[2] == 0 and stats["regions"].regression[1] == 0


@pytest.mark.parametrize("labels", [[3, 3, -1], [-1, -1, -1]])
def test_no_foreground(labels):
    m = regions(labels)
    logits, deltas = torch.randn(3, K + 1, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    losses, _ = criterion()(logits, deltas, m)
    sum(losses.values()).backward()
    assert losses["loss_box_reg"] == 0 and (deltas.grad == 0).all()
    assert torch.isfinite(logits.grad).all() and (logits.grad[m.labels < 0] == 0).all()


def test_deltas_that_overflow_on_background_do_no_harm():
    m = regions([0, 3])
    deltas = torch.tensor([[0.1, 0.2, 0.3, 0.4], [math.inf, math.nan, 1e38, -math.inf]], requires_grad=True)
    losses, _ = criterion()(torch.zeros(2, K + 1), deltas, m)
    losses["loss_box_reg"].backward()
    assert (
        torch.isfinite(losses["loss_box_reg"]) and torch.isfinite(deltas.grad[0]).all() and (deltas.grad[1] == 0).all()
    )


def test_weighting_multiplies_both_and_gets_no_gradient():
    def half(classification, regression, matched):
        assert not classification.requires_grad and not regression.requires_grad
        return (torch.full_like(classification, 0.5), torch.full_like(regression, 0.25)), {"seen": classification.sum()}

    m = regions([0, 3, 1])
    logits, deltas = torch.randn(3, K + 1, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    plain, _ = criterion()(logits, deltas, m)
    weighted, stats = criterion(weighting=half)(logits, deltas, m)
    assert weighted["loss_cls"].item() == pytest.approx(plain["loss_cls"].item() * 0.5)
    assert weighted["loss_box_reg"].item() == pytest.approx(plain["loss_box_reg"].item() * 0.25)
    assert "seen" in stats


def test_classification_brings_its_own_normalizer():
    loss = SoftmaxCrossEntropy()
    loss.normalizer = Foreground()
    m, logits = regions([0, 3, 3, 3]), torch.zeros(4, K + 1)
    own, _ = criterion(loss)(logits, torch.zeros(4, 4), m)
    common, _ = criterion()(logits, torch.zeros(4, 4), m)
    assert own["loss_cls"].item() == pytest.approx(4 * common["loss_cls"].item())
    assert own["loss_box_reg"] == common["loss_box_reg"]


def test_sigmoid_by_hand():
    """One region of class 1 with all logits 0: each of the K sigmoids costs ln 2."""
    values, _ = SigmoidCrossEntropy()(torch.zeros(1, K), regions([1]))
    assert values.item() == pytest.approx(K * math.log(2))
    assert SigmoidCrossEntropy(0.01).initial_bias(K) == pytest.approx(-4.595, abs=1e-3)


def test_normalizers_by_hand():
    m = regions([0, 3, -1, 2, 3])
    assert Considered()(m) == 4 and Foreground()(m) == 2 and PerImage(256)(m) == 256
    assert Considered()(regions([-1])) == 1 and Foreground()(regions([3])) == 1


def test_running_mean_of_foreground():
    """n = m + (100 - m) 0.9^k after k steps with m foreground regions; it rests under eval and in a validation."""
    norm, m = ForegroundAverage(), regions([0, 1, 3])
    for _ in range(5):
        with running_states(norm, ends_step=True):
            value = norm(m)
    assert value.item() == pytest.approx(2 + 98 * 0.9**5, rel=1e-5)
    with torch.no_grad(), running_states(norm, ends_step=True):
        norm(m)
    norm.eval()(m)
    norm.end_step()
    assert norm.value.item() == pytest.approx(2 + 98 * 0.9**5, rel=1e-5)


def test_half_precision_outputs_are_summed_in_float32():
    m = regions([0, 3])
    losses, _ = criterion()(torch.randn(2, K + 1).bfloat16(), torch.randn(2, 4).bfloat16(), m)
    assert all(v.dtype == torch.float32 for v in losses.values())


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
def test_smooth_l1_equals_torch(beta):
    m, deltas = regions([0, 1, 2]), torch.randn(3, 4)
    coder = BoxCoder()
    want = torch.nn.functional.smooth_l1_loss(deltas, coder.encode(m.boxes, m.targets), reduction="none", beta=beta)
    assert torch.allclose(SmoothL1(beta)(deltas, m, coder)[0], want.sum(1), rtol=1e-5)


def test_what_a_matcher_says_becomes_the_flat_batch():
    """Two images of three regions, K = 3: kinds 1, 0 and -1; objects count through the batch, and none is -1."""
    boxes = torch.arange(16.0).view(2, 2, 4)
    objects = Objects(boxes, torch.tensor([[2, 0], [1, 0]]), torch.tensor([[True, True], [True, False]]))
    index, kind = torch.tensor([[1, 0, 0], [0, 1, 0]]), torch.tensor([[1, 0, -1], [1, 0, 1]])
    places, levels, iou = 100 + torch.arange(12.0).view(3, 4), torch.tensor([0, 1, 1]), torch.rand(2, 3)
    allowed = torch.tensor([[True] * 3, [True, True, False]])
    m = assign(places, levels, objects, index, iou, kind, K, allowed)
    assert m.labels.tolist() == [0, 3, -1, 1, 3, -1]
    assert m.objects.tolist() == [1, 0, 0, 2, -1, 2]
    assert m.images.tolist() == [0, 0, 0, 1, 1, 1] and m.levels.tolist() == [0, 1, 1] * 2
    assert torch.equal(m.iou, iou.view(-1)) and torch.equal(m.boxes, places.repeat(2, 1))
    want = places.repeat(2, 1)
    want[0], want[3] = boxes[0, 1], boxes[1, 0]
    assert torch.equal(m.targets, want) and (m.num_images, m.num_classes) == (2, K)


def test_normalizers_and_fixed_weights_by_hand():
    m = regions(torch.tensor([[0, 3], [-1, 3], [1, 3]]), num_images=3)
    assert PerImage(5)(m) == 15 and Considered()(m) == 5 and Foreground()(m) == 2
    losses = {"a": torch.tensor(3.0), "b": torch.tensor(5.0)}
    assert FixedWeights({"a": 2.0})(losses)[0] == {"a": 6.0, "b": 5.0} and FixedWeights()(losses)[0] == losses
    with pytest.raises(ValueError, match=r"objective weights name \['c'\]"):
        FixedWeights({"c": 1.0})(losses)
