"""Tau normalization: neutral and training equal Linear, a loop, the mechanism, a finished run's weights."""

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.modeling.heads import Linear
from imbdet.remedies.class_fg_fg.tau_norm import TauNorm


def layers(tau):
    torch.manual_seed(0)
    plain, mine = Linear(8, 4), TauNorm(8, 4, tau)
    mine.load_state_dict(plain.state_dict())
    return plain.eval(), mine.eval(), torch.randn(5, 8)


def test_neutral_and_training_are_linear():
    plain, mine, x = layers(0)
    assert torch.equal(mine(x), plain(x))
    plain, mine, x = layers(1.0)
    assert torch.equal(mine.train()(x), plain(x)) and not torch.allclose(mine.eval()(x), plain(x))


def test_against_a_loop():
    _, mine, x = layers(0.5)
    for row, found in zip(x, mine(x), strict=True):
        want = [(row @ w / w.norm() ** 0.5 + b).item() for w, b in zip(mine.weight, mine.bias, strict=True)]
        assert found.tolist() == pytest.approx(want, rel=1e-5)


def test_mechanism_long_rows_lose_what_their_length_gave():
    _, mine, x = layers(1.0)
    before = mine(x)
    mine.weight.data[0] *= 7
    assert torch.allclose(mine(x), before, atol=1e-5)


def test_a_row_of_zeros_is_finite():
    _, mine, x = layers(1.0)
    mine.weight.data.zero_()
    assert torch.equal(mine(x), mine.bias.expand(5, 4))


def test_it_takes_the_weights_of_the_baseline():
    words = ["data.train.num_images=12"]
    plain = instantiate(load_config("baselines/faster_rcnn_shapes", [], words).model)
    model = instantiate(load_config("baselines/faster_rcnn_shapes", ["tau_norm"], words).model)
    model.load_state_dict(plain.state_dict())
    assert isinstance(model.roi_heads.box_predictor.cls_score, TauNorm)
    with pytest.raises(ValueError, match="tau must not"):
        TauNorm(2, 2, -1)
