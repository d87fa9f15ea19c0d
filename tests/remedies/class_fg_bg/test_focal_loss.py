"""Focal loss: neutral equals cross entropy, numbers by hand, torchvision, and the background's falling share."""

import math

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from imbdet.config import instantiate, load_config
from imbdet.modeling.defaults import SigmoidCrossEntropy
from imbdet.remedies.class_fg_bg.focal_loss import FocalLoss
from tests.helpers import K, regions


def test_neutral_is_cross_entropy():
    m, logits = regions([0, 3, 2, 3, 1]), torch.randn(5, K)
    assert torch.allclose(FocalLoss(gamma=0, alpha=None)(logits, m)[0], SigmoidCrossEntropy()(logits, m)[0], atol=1e-6)


def test_half_alpha_halves():
    m, logits = regions([0, 3, 2]), torch.randn(3, K)
    half = FocalLoss(gamma=0, alpha=0.5)(logits, m)[0]
    assert torch.allclose(half, SigmoidCrossEntropy()(logits, m)[0] / 2, atol=1e-6)


@pytest.mark.parametrize("p, ratio", [(0.9, 0.01), (0.5, 0.25)])
def test_by_hand(p, ratio):
    """(1 - p)^2: at p = 0.9 a hundredth of cross entropy, at 0.5 a quarter. Other logits are sure: no cost."""
    logits = torch.full((1, K), -50.0)
    logits[0, 1] = math.log(p / (1 - p))
    value = FocalLoss(gamma=2, alpha=None)(logits, regions([1]))[0]
    assert value.item() == pytest.approx(ratio * -math.log(p), rel=1e-4)


@pytest.mark.parametrize("gamma, alpha", [(2.0, 0.25), (0.0, None), (1.0, 0.75)])
def test_equals_torchvision(gamma, alpha):
    m, logits = regions([0, 3, 2, 3, 1]), torch.randn(5, K) * 3
    truth = torch.zeros(5, K)
    for i, label in enumerate(m.labels.tolist()):
        if label < K:
            truth[i, label] = 1
    want = sigmoid_focal_loss(logits, truth, alpha=-1 if alpha is None else alpha, gamma=gamma).sum(1)
    assert torch.allclose(FocalLoss(gamma, alpha)(logits, m)[0], want, atol=1e-6)


def test_gradient_and_extreme_logits():
    m = regions([0, 3, 2])
    logits = torch.randn(3, K, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: FocalLoss()(x, m)[0], logits)
    far = torch.tensor([[200.0, -200, 0]] * 3, requires_grad=True)
    value = FocalLoss()(far, m)[0].sum()
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(far.grad).all()


def test_initial_probability():
    bias = FocalLoss(prior=0.01).initial_bias(K)
    assert torch.sigmoid(torch.tensor(bias)).item() == pytest.approx(0.01, abs=1e-6)


def test_no_foreground_and_none_at_all():
    assert torch.isfinite(FocalLoss()(torch.randn(3, K), regions([3, 3, -1]))[0]).all()


def test_mechanism_share_of_easy_background_falls():
    """10 hard foreground and 990 easy background regions: the background's share of the loss falls."""
    m = regions([0] * 10 + [K] * 990)
    logits = torch.where(m.labels.unsqueeze(1) == 0, 0.0, -3.0).expand(-1, K)
    share = {}
    for name, loss in (("cross entropy", SigmoidCrossEntropy()), ("focal", FocalLoss())):
        values = loss(logits, m)[0]
        share[name] = (values[m.background].sum() / values.sum()).item()
    assert share["cross entropy"] > 0.85 and share["focal"] < 0.3


@pytest.mark.parametrize("base", ["baselines/retinanet_shapes", "baselines/faster_rcnn_shapes"])
def test_config_puts_it_on_either_detector(base):
    cfg = load_config(base, remedies=["focal_loss"])
    cfg.model.num_classes = 4
    model = instantiate(cfg.model)
    criterion = getattr(model, "criterion", None) or model.roi_heads.criterion
    assert isinstance(criterion.classification, FocalLoss)
    assert (criterion.classification.normalizer is None) == (base == "baselines/retinanet_shapes")


@pytest.mark.parametrize("bad", [{"gamma": -1}, {"alpha": 1.5}, {"prior": 0}])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FocalLoss(**bad)


def test_alpha_by_name():
    """Class b has alpha 0.9: its regions weigh 0.9, and being wrong about b elsewhere weighs 0.1."""
    m, logits = regions([1, 0, 3]), torch.zeros(3, K)
    loss = FocalLoss(gamma=0, alpha={"b": 0.9}, class_names=["a", "b", "c"], other_alpha=0.5)
    want = torch.tensor([0.9 + 0.5 + 0.5, 0.5 + 0.1 + 0.5, 0.5 + 0.1 + 0.5]) * math.log(2)
    assert torch.allclose(loss(logits, m)[0], want)
    with pytest.raises(ValueError, match="'bb'"):
        FocalLoss(alpha={"bb": 0.9}, class_names=["a", "b", "c"])
