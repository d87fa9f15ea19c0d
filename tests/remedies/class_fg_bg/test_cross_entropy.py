import math

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from imbdet.config import instantiate, load_config
from imbdet.modeling.defaults import SigmoidCrossEntropy, one_hot
from imbdet.remedies.class_fg_bg.cross_entropy import CrossEntropy

from ._regions import K, batch


def test_neutral_is_sigmoid_cross_entropy():
    m, logits = batch([[0, K, 2, -1]]), torch.randn(4, K)
    assert torch.equal(CrossEntropy(0.3)(logits, m)[0], SigmoidCrossEntropy(0.3)(logits, m)[0])
    assert CrossEntropy(0.3).initial_bias(K) == SigmoidCrossEntropy(0.3).initial_bias(K)


def test_by_hand():
    """p = 0.9 for the region's class and 0.2 for another, the third sure to be absent: -ln 0.9 - ln 0.8."""
    logits = torch.tensor([[math.log(9), math.log(0.25), -50.0]])
    value = CrossEntropy()(logits, batch([[0]]))[0]
    assert value.item() == pytest.approx(-math.log(0.9) - math.log(0.8), rel=1e-5)


def test_equals_torchvisions_focal_loss_without_its_factors():
    m, logits = batch([[0, K, 2]]), torch.randn(3, K)
    want = sigmoid_focal_loss(logits, one_hot(m.labels, K, torch.float32), alpha=-1, gamma=0).sum(1)
    assert torch.allclose(CrossEntropy()(logits, m)[0], want, atol=1e-6)


def test_no_objects():
    assert torch.isfinite(CrossEntropy()(torch.randn(3, K), batch([[K, K, -1]]))[0]).all()


def test_mechanism_easy_background_makes_most_of_the_loss():
    """10 objects at p = 0.5 beside 990 background regions at p = 0.05: -ln 0.95 is little, but there are many."""
    m = batch([[0] * 10 + [K] * 990])
    logits = torch.where(m.labels == 0, 0.0, math.log(0.05 / 0.95)).unsqueeze(1).expand(-1, K)
    values = CrossEntropy()(logits, m)[0]
    assert values[m.background].sum() / values.sum() > 0.85


def test_it_takes_focal_loss_away():
    from imbdet.remedies.class_fg_bg.focal_loss import FocalLoss

    plain = instantiate(load_config("baselines/retinanet_lite0_custom").model.criterion.classification)
    cfg = load_config("baselines/retinanet_lite0_custom", ["cross_entropy"])
    assert isinstance(plain, FocalLoss)
    assert isinstance(instantiate(cfg.model.criterion.classification), CrossEntropy)
