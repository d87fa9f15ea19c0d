import math

import pytest
import torch

from imbdet.modeling.defaults import SigmoidCrossEntropy
from imbdet.remedies.class_fg_bg.quality_focal_loss import QualityFocalLoss

from ._regions import K, batch, with_iou


def test_neutral_is_cross_entropy():
    m, logits = batch([[0, K, 2, 1]]), torch.randn(4, K)
    found = QualityFocalLoss(beta=0, soft=False)(logits, m)[0]
    assert torch.allclose(found, SigmoidCrossEntropy()(logits, m)[0], atol=1e-6)


def test_by_hand():
    """y = 0.8, s = 0.5: |0.3|^2 (0.2 ln 2 + 0.8 ln 2); the other logits say 0 and cost nothing."""
    logits = torch.tensor([[0.0, -50.0, -50.0]])
    value = QualityFocalLoss(beta=2)(logits, with_iou([0], [0.8]))[0]
    assert value.item() == pytest.approx(0.09 * math.log(2), rel=1e-4)


def test_equals_a_naive_loop():
    m, logits = with_iou([0, K, 2, 1], [0.5, 1, 0.9, 0.7]), torch.randn(4, K)
    values = QualityFocalLoss()(logits, m)[0]
    for i, label in enumerate(m.labels.tolist()):
        want = 0.0
        for k in range(K):
            y = [0.5, 1, 0.9, 0.7][i] if k == label else 0.0
            s = torch.sigmoid(logits[i, k].double()).item()
            want += (y - s) ** 2 * -((1 - y) * math.log(1 - s) + y * math.log(s))
        assert values[i].item() == pytest.approx(want, rel=1e-4)


def test_the_target_follows_the_regressed_box_and_sends_it_no_gradient():
    m = with_iou([0], [0.5])
    m.deltas = torch.tensor([[0.5, 0.0, math.log(2), 0.0]], requires_grad=True)  # shifted and doubled: the object
    value, stats = QualityFocalLoss()(torch.zeros(1, K, requires_grad=True), m)
    assert stats["quality/mean"].item() == pytest.approx(1.0, abs=1e-5)


def test_mechanism_the_best_score_is_the_iou():
    """The loss of one logit over its score has its minimum, 0, where the score is the IoU."""
    for iou in (0.55, 0.8):
        s = torch.linspace(0.05, 0.95, 181)
        logits = torch.stack((torch.logit(s), torch.full_like(s, -50), torch.full_like(s, -50)), 1)
        values = QualityFocalLoss()(logits, with_iou([0] * 181, [iou] * 181))[0]
        assert s[values.argmin()].item() == pytest.approx(iou, abs=0.006)


def test_no_objects():
    value, stats = QualityFocalLoss()(torch.randn(3, K), batch([[K, K, -1]]))
    assert torch.isfinite(value).all() and stats["quality/mean"] == 0


def test_bad_settings():
    with pytest.raises(ValueError, match="beta"):
        QualityFocalLoss(beta=-1)
