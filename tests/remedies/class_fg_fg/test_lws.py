"""LWS: at its start the finished detector bit for bit, then only factors move, and what they can and cannot do."""

import pytest
import torch
from torch.nn import functional as F

from imbdet import testing
from imbdet.config import load_config
from imbdet.modeling.heads import Linear
from imbdet.remedies.class_fg_fg.lws import LWS
from tests.remedies.class_fg_fg._decoupled import changed_by_a_step, config, detector

TWO = "baselines/faster_rcnn_shapes"
SCALE = "roi_heads.box_predictor.cls_score.scale"


def layers():
    torch.manual_seed(0)
    plain, mine = Linear(8, 4), LWS(8, 4)
    assert mine.load_state_dict(plain.state_dict(), strict=False).missing_keys == ["scale"]
    return plain, mine, torch.randn(5, 8)


def test_neutral_it_begins_as_the_finished_detector():
    plain, mine, x = layers()
    assert torch.equal(mine(x), plain(x))
    finished, model = detector(TWO, "", seed=1).eval(), detector(TWO, "lws").eval()
    assert model.load_state_dict(finished.state_dict(), strict=False).missing_keys == [SCALE]
    images, _ = testing.batch(3, 1, size=64)
    with torch.no_grad():
        for a, b in zip(finished(images), model(images), strict=True):
            assert all(torch.equal(a[key], b[key]) for key in a)


def test_against_a_loop():
    _, mine, x = layers()
    mine.scale.data = torch.tensor([2.0, 0.0, -1.0, 0.5])
    for row, found in zip(x, mine(x), strict=True):
        parts = zip(mine.scale, mine.weight, mine.bias, strict=True)
        assert found.tolist() == pytest.approx([(s * (row @ w) + b).item() for s, w, b in parts], rel=1e-4, abs=1e-5)


def test_gradient_in_float64():
    _, mine, x = layers()
    mine, x = mine.double(), x.double()
    assert torch.autograd.gradcheck(
        lambda s: F.linear(x, mine.weight.detach() * s.unsqueeze(1), mine.bias.detach()), mine.scale
    )
    mine(x).sum().backward()
    want = [(x @ w).sum().item() for w in mine.weight]
    assert mine.scale.grad.tolist() == pytest.approx(want)


@pytest.mark.parametrize("classes", [10, 1])
def test_mechanism_only_the_factors_move(classes):
    """Two logits where there is one class; nothing else, weight decay and batch norms included."""
    model = detector(TWO, "lws", classes)
    assert changed_by_a_step(model) == {SCALE}
    assert len(model.state_dict()[SCALE]) == classes + 1


def test_mechanism_a_rare_class_can_be_raised_but_not_turned():
    """Features of two classes whose rows are short: factors lengthen them; a row that points elsewhere stays there."""
    layer = LWS(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.1]]))
        layer.bias.zero_()
    layer.weight.requires_grad_(False)
    x, labels = torch.tensor([[1.0, 0.0], [0.8, 0.6]]), torch.tensor([0, 1])
    assert layer(x).argmax(dim=1).tolist() == [0, 0]
    optimizer = torch.optim.SGD([layer.scale], lr=5.0)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(layer(x), labels).backward()
        optimizer.step()
    assert layer(x).argmax(dim=1).tolist() == [0, 1] and layer.scale[1] > 5
    assert layer(torch.tensor([[1.0, 0.0]]))[0, 1] == 0, "the second row still sees nothing of the first axis"


def test_the_config_takes_class_aware_sampling_and_one_stage_is_refused():
    sampler = config(TWO, "lws").dataloader.train.image_sampler
    assert sampler._target_.endswith(".ClassAwareSampling") and sampler.max_repeats is None
    with pytest.raises(ValueError, match="needs the slot classifier"):
        load_config("baselines/retinanet_shapes", ["lws"])
