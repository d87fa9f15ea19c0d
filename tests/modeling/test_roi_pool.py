"""RoIAlign on a pyramid: torchvision's multi-level pooler, and the same with any number of threads."""

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign, roi_align

from imbdet.modeling.roi_pool import MultiLevelRoIAlign
from imbdet.testing import random_boxes

STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}


def pyramid(size=256, channels=6):
    g = torch.Generator().manual_seed(0)
    return {
        k: torch.randn(2, channels, size // s, size // s, generator=g, requires_grad=True) for k, s in STRIDES.items()
    }


def pooler(**more):
    pool = MultiLevelRoIAlign(**more)
    pool.build(STRIDES)
    return pool


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_levels_by_hand():
    """224 px belongs to stride 16 (level 4), half of it one level finer; beyond the ends it is the end."""
    sides = torch.tensor([1.0, 56, 112, 223, 225, 448, 4000])
    boxes = torch.stack((sides * 0, sides * 0, sides, sides), dim=1)
    assert (pooler().assign(boxes) + 2).tolist() == [2, 2, 3, 3, 4, 5, 5]


def test_equals_torchvision_forward_and_backward(threads):
    boxes, images = random_boxes(40, size=150), torch.arange(2).repeat(20)
    maps, theirs = pyramid(), pyramid()
    got = pooler(size=7, sampling_ratio=2, canonical_size=30)(maps, boxes, images)
    level = pooler(canonical_size=30).assign(boxes)
    want = torch.stack(
        [
            roi_align(
                list(theirs.values())[k], torch.cat((i[None].float(), b))[None], 7, 1 / (4 * 2**k), 2, aligned=True
            )[0]
            for b, i, k in zip(boxes, images, level.tolist(), strict=True)
        ]
    )
    assert torch.allclose(got, want, atol=1e-5) and len(set(level.tolist())) > 2
    weight = torch.randn_like(want)
    (got * weight).sum().backward()
    (want * weight).sum().backward()
    for mine, other in zip(maps.values(), theirs.values(), strict=True):
        assert mine.grad is not None
        other = other.grad if other.grad is not None else torch.zeros_like(other)
        assert torch.allclose(mine.grad, other, atol=1e-4)


def test_in_bfloat16_as_in_float32(threads):
    """Under autocast maps come in bfloat16; boxes keep their corners, and values are rounded once on either way."""
    boxes, images = random_boxes(20, size=200.0), torch.arange(20) % 2
    half = {k: v.detach().bfloat16().requires_grad_() for k, v in pyramid().items()}
    wide = {k: v.detach().float().requires_grad_() for k, v in half.items()}
    expected = pooler()(wide, boxes, images)
    expected.sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        pooled = pooler()(half, boxes, images)
    pooled.float().sum().backward()
    assert torch.equal(pooled, expected.bfloat16())
    assert wide["p2"].grad.abs().sum() > 0
    assert all(torch.equal(half[level].grad, map_.grad.bfloat16()) for level, map_ in wide.items())


def test_same_assignment_as_torchvision():
    boxes = random_boxes(200, size=400)
    peer = MultiScaleRoIAlign(["0", "1", "2", "3"], 7, 2)
    x = {str(i): torch.zeros(1, 1, 512 // s, 512 // s) for i, s in enumerate(STRIDES.values())}
    peer(x, [boxes], [(512, 512)])
    assert torch.equal(peer.map_levels([boxes]), pooler().assign(boxes))


def test_one_level_and_no_region(threads):
    pool = MultiLevelRoIAlign(levels=["p3"], size=3)
    pool.build(STRIDES)
    assert pool(pyramid(), torch.zeros(0, 4), torch.zeros(0).long()).shape == (0, 6, 3, 3)
    assert pooler()(pyramid(), torch.zeros(0, 4), torch.zeros(0).long()).shape == (0, 6, 7, 7)


def test_unknown_level():
    with pytest.raises(ValueError, match="p9"):
        MultiLevelRoIAlign(levels=["p9"]).build(STRIDES)
