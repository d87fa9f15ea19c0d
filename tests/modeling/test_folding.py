"""Folded batch norms: the same maps up to rounding, no trace in the network, new after every change of a weight."""

import copy

import pytest
import torch
from torch import nn

from imbdet.modeling.backbones import TimmBackbone, TinyBackbone
from imbdet.modeling.folding import Folded, fold


def randomized(network):
    """Eval mode, with norms that do something."""
    g = torch.Generator().manual_seed(0)
    for module in network.modules():
        if getattr(module, "running_var", None) is not None:
            for name, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
                value = getattr(module, name)
                value.data.copy_(low + torch.rand(value.shape, generator=g))
    return network.eval()


BACKBONES = {
    "tiny": TinyBackbone,
    "frozen norms": lambda: TimmBackbone("resnet10t", ["c2", "c3", "c4", "c5"], frozen_norm=True),
    "learning norms": lambda: TimmBackbone("resnet10t", ["c3", "c5"], frozen_norm=False),
}


@pytest.mark.parametrize("name", list(BACKBONES))
@torch.no_grad()
def test_equals_the_network(name):
    network, x = randomized(BACKBONES[name]()), torch.randn(2, 3, 64, 96)
    before = copy.deepcopy(network.state_dict())
    plain, folded = network(x), Folded(network)
    found = folded(x)
    assert folded.copy is not None and list(found) == list(plain)
    for level in plain:
        assert torch.allclose(found[level], plain[level], rtol=1e-4, atol=1e-4 * plain[level].abs().max())
    left = [m for m in folded.copy.modules() if getattr(m, "running_var", None) is not None]
    assert not left, "a norm was left"
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@torch.no_grad()
def test_by_hand():
    """Convolution by 2, norm (x - 1) / 2 x 3 + 5: x = 4 gives (8 - 1) / 2 x 3 + 5 = 15.5."""

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, eps=0.0)

        def forward(self, x):
            return {"c1": self.norm(self.conv(x))}

    one = One().eval()
    one.conv.weight.fill_(2.0)
    one.norm.running_mean.fill_(1.0), one.norm.running_var.fill_(4.0)
    one.norm.weight.fill_(3.0), one.norm.bias.fill_(5.0)
    x = torch.full((1, 1, 2, 2), 4.0)
    assert Folded(one)(x)["c1"].unique().tolist() == [15.5]


@torch.no_grad()
def test_a_changed_weight_is_seen():
    network, x = randomized(TinyBackbone()), torch.randn(1, 3, 64, 64)
    folded = Folded(network)
    folded(x)
    network.stem[0].weight.mul_(2.0)
    assert torch.allclose(folded(x)["c3"], network(x)["c3"], rtol=1e-4, atol=1e-4)
    network.load_state_dict({k: v * 0.5 if v.is_floating_point() else v for k, v in network.state_dict().items()})
    assert torch.allclose(folded(x)["c3"], network(x)["c3"], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_convolution_with_a_second_reader_is_left_alone():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            y = self.conv(x)
            return {"c1": self.norm(y) + y}

    network, x = randomized(Two()), torch.randn(1, 3, 8, 8)
    assert fold(network, x) is None and torch.equal(Folded(network)(x)["c1"], network(x)["c1"])


def test_training_is_untouched_and_the_copy_is_dropped():
    from imbdet.config import instantiate, load_config

    cfg = load_config("baselines/faster_rcnn_shapes")
    cfg.model.num_classes = 3
    model = instantiate(cfg.model).eval()
    image = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)]
    with torch.no_grad():
        model(image)
    assert model.folded.copy is not None and not any("folded" in key for key in model.state_dict())
    assert copy.deepcopy(model).folded.copy is None
    assert model.train().folded.copy is None
