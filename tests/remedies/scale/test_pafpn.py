"""Path aggregation: the FPN inside of it, a naive loop, odd sizes, and the way from fine to coarse."""

import pytest
import torch
from torch.nn import functional as F

from imbdet.modeling.necks import FPN
from imbdet.remedies.scale.pafpn import PAFPN
from imbdet.testing import batch, tiny_detector


class Backbone:
    channels = {"c2": 4, "c3": 6, "c4": 8}
    strides = {"c2": 4, "c3": 8, "c4": 16}


def features(height=36, width=28):
    g = torch.Generator().manual_seed(0)
    pairs = zip((4, 6, 8), (1, 2, 4), strict=True)
    return {
        f"c{i}": torch.randn(2, c, -(-height // s), -(-width // s), generator=g) for i, (c, s) in enumerate(pairs, 2)
    }


def pyramid(kind=PAFPN, extra="pool"):
    torch.manual_seed(0)
    neck = kind(channels=5, extra=extra)
    neck.build(Backbone)
    return neck


def test_with_a_closed_path_it_is_the_fpn():
    neck, plain, maps = pyramid(), pyramid(FPN), features()
    for down, out in zip(neck.down, neck.out, strict=True):
        torch.nn.init.zeros_(down.weight)
        torch.nn.init.dirac_(out.weight)
    want, found = plain(maps), neck(maps)
    assert list(want) == list(found) and neck.strides == plain.strides
    assert all(torch.allclose(want[k], found[k], atol=1e-6) for k in want)
    assert set(plain.state_dict()) <= set(neck.state_dict())


@pytest.mark.parametrize("extra", ["pool", "convs", ""])
def test_a_naive_loop(extra):
    neck, maps = pyramid(extra=extra), features()
    levels = list(FPN.forward(neck, maps).values())
    n, want = [levels[0]], [levels[0]]
    for level, down, out in zip(levels[1:3], neck.down, neck.out, strict=True):
        n.append(level + F.conv2d(n[-1], down.weight, down.bias, 2, 1))
        want.append(F.conv2d(n[-1], out.weight, out.bias, 1, 1))
    want += {"pool": [want[-1][:, :, ::2, ::2]], "convs": levels[3:], "": []}[extra]
    found = list(neck(maps).values())
    assert len(found) == len(want) and all(torch.equal(a, b) for a, b in zip(found, want, strict=True))


@pytest.mark.parametrize("size", [(37, 29), (35, 30)])
def test_odd_sizes(size):
    maps, plain = features(*size), pyramid(FPN)
    want = {name: x.shape for name, x in plain(maps).items()}
    assert {name: x.shape for name, x in pyramid()(maps).items()} == want


def test_mechanism_a_change_of_the_finest_input_reaches_the_coarsest_output():
    maps = features()
    other = {**maps, "c2": maps["c2"] + 1}
    for kind, hears in ((FPN, False), (PAFPN, True)):
        neck = pyramid(kind)
        assert (not torch.equal(neck(maps)["p4"], neck(other)["p4"])) == hears


@pytest.mark.parametrize("detector", ["retinanet", "faster_rcnn"])
def test_no_objects_and_gradients(detector):
    model = tiny_detector(detector, ["pafpn"])
    losses, _ = model(*batch(0, 0, size=64))
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.neck.down.parameters())
