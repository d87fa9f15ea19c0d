"""RFLA: the divergence by hand and by torch, a naive loop, regions left as they are, tiny objects served alike."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from imbdet.modeling.boxes import pairwise_iou
from imbdet.remedies.scale import _gaussians
from imbdet.remedies.scale.rfla import RFLA
from imbdet.testing import random_boxes


def call(matcher, objects, regions, levels=None, valid=None):
    valid = torch.ones(1, len(objects), dtype=torch.bool) if valid is None else valid
    levels = torch.zeros(len(regions), dtype=torch.int64) if levels is None else levels
    iou = pairwise_iou(objects, regions)[None] * valid[:, :, None]
    return [x[0] for x in matcher(iou, valid, regions=regions[None], levels=levels[None], objects=objects[None])]


def test_divergence_equals_torch():
    a, b = random_boxes(30), random_boxes(30, seed=1)

    def normal(x):
        return Normal((x[:, :2] + x[:, 2:]) / 2, (x[:, 2:] - x[:, :2]) / 2)

    assert torch.allclose(_gaussians.kl_divergence(a, b), kl_divergence(normal(a), normal(b)).sum(1), rtol=1e-4)


def test_by_hand():
    """Squares of 10: the same place has KL 0 and RFD 1; 5 px off in x, KL = (10 / 10)^2 / 2 = 0.5, RFD 2/3."""
    a, b = torch.tensor([0.0, 0, 10, 10]), torch.tensor([5.0, 0, 15, 10])
    assert _gaussians.kl_divergence(a, a) == 0 and _gaussians.kl_divergence(a, b).item() == pytest.approx(0.5)
    regions = torch.stack([a + torch.tensor([x, 0.0, x, 0.0]) for x in (0.0, 1, 2, 3, 4, 20)])
    kind = call(RFLA(first=2, second=1, ignore=0.8), a[None], regions)[2]
    assert kind.tolist() == [1, 1, 1, -1, 0, 0]  # RFD 1, 0.98, 0.93 in round 2, 0.85 ignored, 0.76, 0.11


def test_a_naive_loop():
    objects, regions = random_boxes(4), random_boxes(50, seed=2)
    index, iou, kind = call(RFLA(first=3, second=1, ignore=0.6), objects, regions)

    def rfd(shrink):
        c, h = (regions[:, :2] + regions[:, 2:]) / 2, (regions[:, 2:] - regions[:, :2]) / 2 * shrink
        field = torch.cat((c - h, c + h), 1)
        return [(1 / (1 + _gaussians.kl_divergence(field, o))).tolist() for o in objects]

    def rounds(score, count, free):
        owner = {}
        for j, row in enumerate(score):
            for i in sorted(free, key=lambda i: -row[i])[:count]:
                if i not in owner or score[owner[i]][i] < row[i]:
                    owner[i] = j
        return owner

    first = rounds(rfd(1), 3, range(50))
    owner = {**rounds(rfd(0.9), 1, [i for i in range(50) if i not in first]), **first}
    near = {i for i in range(50) if max(row[i] for row in rfd(1)) >= 0.6}
    assert {i: int(index[i]) for i in range(50) if kind[i] == 1} == owner
    assert {i for i in range(50) if kind[i] == -1} == near - set(owner)
    assert torch.equal(iou, pairwise_iou(objects, regions).gather(0, index[None])[0])


def test_trap_regions_stay_as_they_are():
    regions = random_boxes(20)
    before = regions.clone()
    call(RFLA(fields=[30.0]), random_boxes(2, seed=4), regions)
    assert torch.equal(regions, before)


def test_fields_of_the_levels():
    """Half of 40 and of 160 px: of two equal regions, each object takes that of the level whose field fits it."""
    region = torch.tensor([40.0, 40, 60, 60]).expand(2, 4)
    matcher = RFLA(fields=[40, 160], first=1, second=0)
    matcher.build((8, 16))
    for side, want in ((20.0, [1, 0]), (80.0, [0, 1])):
        box = torch.tensor([[50 - side / 2, 50 - side / 2, 50 + side / 2, 50 + side / 2]])
        assert call(matcher, box, region, torch.tensor([0, 1]))[2].clamp(min=0).tolist() == want
    with pytest.raises(ValueError, match="2 fields for 3 levels"):
        matcher.build((8, 16, 32))


def test_no_objects_and_bad_settings():
    kind = call(RFLA(), torch.zeros(2, 4), random_boxes(9), valid=torch.zeros(1, 2, dtype=torch.bool))[2]
    assert not kind.any()
    for bad in ({"first": 0}, {"second": -1}, {"shrink": 0}, {"ignore": 2}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            RFLA(**bad)


def test_mechanism_a_tiny_object_gets_as_many_regions_as_a_large_one():
    xs = torch.arange(0, 256, 8.0)
    centers = torch.stack(torch.meshgrid(xs, xs, indexing="ij"), -1).view(-1, 2)
    regions = torch.cat((centers - 16, centers + 16), 1)
    objects = torch.tensor([[60.0, 60, 64, 64], [140.0, 140, 230, 230]])
    assert (pairwise_iou(objects, regions)[0] < 0.5).all()
    index, _, kind = call(RFLA(), objects, regions)
    assert torch.bincount(index[kind == 1]).tolist() == [4, 4]
