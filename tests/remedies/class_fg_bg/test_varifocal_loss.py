import math

import pytest
import torch

from imbdet.modeling.defaults import SigmoidCrossEntropy
from imbdet.remedies.class_fg_bg.varifocal_loss import VarifocalLoss

from ._regions import K, batch, with_iou


def test_neutral_is_cross_entropy():
    m, logits = batch([[0, K, 2, 1]]), torch.randn(4, K)
    found = VarifocalLoss(alpha=1, gamma=0, soft=False)(logits, m)[0]
    assert torch.allclose(found, SigmoidCrossEntropy()(logits, m)[0], atol=1e-6)


def test_by_hand():
    """q = 0.8, p = 0.5: 0.8 ln 2; a wrong class at p = 0.5: 0.75 x 0.25 ln 2."""
    foreground = VarifocalLoss()(torch.tensor([[0.0, -50.0, -50.0]]), with_iou([0], [0.8]))[0]
    wrong = VarifocalLoss()(torch.tensor([[0.0, -50.0, -50.0]]), with_iou([K], [1]))[0]
    assert foreground.item() == pytest.approx(0.8 * math.log(2), rel=1e-4)
    assert wrong.item() == pytest.approx(0.75 * 0.25 * math.log(2), rel=1e-4)


def test_equals_a_naive_loop():
    iou = [0.5, 1, 0.9, 0.7]
    m, logits = with_iou([0, K, 2, 1], iou), torch.randn(4, K)
    values = VarifocalLoss()(logits, m)[0]
    for i, label in enumerate(m.labels.tolist()):
        want = 0.0
        for k in range(K):
            p = torch.sigmoid(logits[i, k].double()).item()
            q = iou[i] if k == label else 0.0
            full = -(q * math.log(p) + (1 - q) * math.log(1 - p))
            want += q * full if q else 0.75 * p**2 * full
        assert values[i].item() == pytest.approx(want, rel=1e-4)


def test_mechanism_good_boxes_count_more_and_easy_background_less():
    loss, zero = VarifocalLoss(), torch.tensor([[0.0, -50.0, -50.0]] * 2)
    poor, good = loss(zero, with_iou([0, 0], [0.5, 0.9]))[0]
    assert good / poor == pytest.approx(0.9 / 0.5, rel=1e-4)
    easy = torch.tensor([[-3.0, -50.0, -50.0]])
    ratio = loss(easy, with_iou([K], [1]))[0] / SigmoidCrossEntropy()(easy, with_iou([K], [1]))[0]
    assert ratio < 0.002


def test_no_objects():
    assert torch.isfinite(VarifocalLoss()(torch.randn(3, K), batch([[K, K, -1]]))[0]).all()


@pytest.mark.parametrize("bad", [{"alpha": -1}, {"gamma": -1}])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match="negative"):
        VarifocalLoss(**bad)
