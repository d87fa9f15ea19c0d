import pytest
import torch
from torch.nn import functional as F

from imbdet.config import instantiate, load_config
from imbdet.modeling.necks import FPN
from imbdet.remedies.scale.balanced_feature_pyramid import BalancedFeaturePyramid, NonLocal


class Backbone:
    channels = {"c2": 4, "c3": 6, "c4": 8}
    strides = {"c2": 4, "c3": 8, "c4": 16}


def features(height=36, width=28):
    return {
        f"c{i}": torch.randn(2, c, -(-height // s), -(-width // s))
        for i, (c, s) in enumerate(zip((4, 6, 8), (1, 2, 4), strict=True), 2)
    }


def pyramid(kind=BalancedFeaturePyramid, **settings):
    torch.manual_seed(0)
    neck = kind(channels=5, extra="pool", **settings)
    neck.build(Backbone)
    return neck


def test_neutral_is_the_fpn():
    maps = features()
    plain, balanced = pyramid(FPN), pyramid(strength=0.0, refine_level=1)
    want, found = plain(maps), balanced(maps)
    assert list(want) == list(found) and all(torch.equal(want[k], found[k]) for k in want)
    assert balanced.strides == plain.strides and set(plain.state_dict()) <= set(balanced.state_dict())


def test_by_hand_on_constant_maps():
    """Levels of constant 1, 2, 3 and 3 have the mean 2.25, added to each where the refinement adds nothing."""
    neck = pyramid(refine_level=2)
    torch.nn.init.zeros_(neck.refine.out.weight)
    levels = {"p2": 1.0, "p3": 2.0, "p4": 3.0, "p5": 3.0}
    shapes = {"p2": 16, "p3": 8, "p4": 4, "p5": 2}
    fake = {name: torch.full((1, 5, shapes[name], shapes[name]), value) for name, value in levels.items()}
    original, FPN.forward = FPN.forward, lambda self, maps: maps
    try:
        found = neck(fake)
    finally:
        FPN.forward = original
    assert {name: x.unique().tolist() for name, x in found.items()} == {k: [v + 2.25] for k, v in levels.items()}


def test_resizing_against_a_naive_loop():
    """Odd sizes: to a coarser level by the maximum of its cells, to a finer one by the nearest cell."""
    neck = pyramid(refine_level=1)
    torch.nn.init.zeros_(neck.refine.out.weight)
    base = pyramid(FPN)(features())
    maps = list(base.values())
    size = maps[1].shape[-2:]
    together = (
        F.adaptive_max_pool2d(maps[0], size)
        + maps[1]
        + F.interpolate(maps[2], size=size)
        + F.interpolate(maps[3], size=size)
    ) / 4
    original, FPN.forward = FPN.forward, lambda self, maps: dict(base)
    try:
        found = neck({})
    finally:
        FPN.forward = original
    assert torch.allclose(found["p2"], base["p2"] + F.interpolate(together, size=maps[0].shape[-2:]), atol=1e-6)
    assert torch.allclose(found["p4"], base["p4"] + F.adaptive_max_pool2d(together, maps[2].shape[-2:]), atol=1e-6)


def test_non_local_block_against_a_naive_loop():
    block, x = NonLocal(3), torch.randn(1, 3, 2, 4)
    cells = [x[0, :, i, j] for i in range(2) for j in range(4)]
    one = lambda layer, v: layer.weight[:, :, 0, 0] @ v + layer.bias  # noqa: E731
    for place, cell in enumerate(cells):
        weight = torch.stack([one(block.theta, cell) @ one(block.phi, other) for other in cells]).softmax(0)
        seen = sum(w * one(block.g, other) for w, other in zip(weight, cells, strict=True))
        want = cell + one(block.out, seen)
        assert torch.allclose(block(x)[0, :, place // 4, place % 4], want, atol=1e-5)


def test_mechanism_every_level_hears_of_every_other():
    """A change of the finest input reaches the coarsest output, which the FPN's top-down path cannot do."""
    maps = features()
    other = {**maps, "c2": maps["c2"] + 1}
    for kind, hears in ((FPN, False), (BalancedFeaturePyramid, True)):
        neck = pyramid(kind)
        assert (not torch.equal(neck(maps)["p4"], neck(other)["p4"])) == hears


def test_gradients_reach_all_its_layers_and_its_level_is_checked():
    neck = pyramid()
    torch.nn.init.normal_(neck.refine.out.weight)
    sum(x.sum() for x in neck(features()).values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in neck.parameters())
    with pytest.raises(ValueError, match="refine_level must be in 0..3"):
        pyramid(refine_level=4)


@pytest.mark.parametrize("base", ["baselines/retinanet_shapes", "baselines/faster_rcnn_shapes"])
def test_images_without_objects(base):
    cfg = load_config(base, ["balanced_feature_pyramid"])
    cfg.model.num_classes = 4
    model = instantiate(cfg.model)
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    losses, _ = model([torch.zeros(3, 64, 96, dtype=torch.uint8)], [empty])
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_mechanism_all_four_convolutions_learn_from_the_first_step():
    """Xavier's values, +-sqrt(6 / (C + C)), in the last one too: at W = 0 the other three would get no gradient."""
    torch.manual_seed(0)
    block = NonLocal(8)
    limit = (6 / 16) ** 0.5
    assert 0.9 * limit < block.out.weight.abs().max() <= limit
    block(torch.randn(1, 8, 3, 3)).square().sum().backward()
    assert all(layer.weight.grad.norm() > 1e-3 for layer in (block.theta, block.phi, block.g, block.out))
