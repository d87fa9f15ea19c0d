"""ATSS: by hand, a naive loop, one and no object, small levels, and objects between anchors."""

import pytest
import torch

from imbdet.modeling.boxes import pairwise_iou
from imbdet.modeling.defaults import ThresholdMatcher
from imbdet.remedies.spatial_location.atss import ATSS
from imbdet.testing import random_boxes


def call(matcher, objects, regions, levels, strides=(8,), valid=None):
    """Of one image: objects (M, 4), regions (A, 4), levels (A,) -> object, IoU, kind (A,)."""
    valid = torch.ones(1, len(objects), dtype=torch.bool) if valid is None else valid
    matcher.build(strides)
    iou = pairwise_iou(objects, regions)[None] * valid[:, :, None]
    return [x[0] for x in matcher(iou, valid, regions=regions[None], levels=levels[None], objects=objects[None])]


def grid(strides, sides, ratios=(1.0,), size=64):
    """Anchors on all levels: boxes, levels."""
    boxes, levels = [], []
    for level, (stride, side) in enumerate(zip(strides, sides, strict=True)):
        xs = torch.arange(0, size, float(stride))
        y, x = torch.meshgrid(xs, xs, indexing="ij")
        at = torch.stack((x, y, x, y), -1).view(-1, 1, 4)
        cell = torch.tensor([[-side / r / 2, -side * r / 2, side / r / 2, side * r / 2] for r in ratios])
        boxes.append((at + cell).view(-1, 4))
        levels.append(torch.full((len(boxes[-1]),), level))
    return torch.cat(boxes), torch.cat(levels)


def test_by_hand():
    """Three candidates of IoU 1, 0.6 and 0.2: mean 0.6, deviation 0.4, threshold 1.0."""
    objects = torch.tensor([[0.0, 0, 10, 10]])
    regions = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 2], [40, 40, 50, 50]])
    levels = torch.zeros(4, dtype=torch.int64)
    assert call(ATSS(topk=3, per_place=1, deviations=0.999), objects, regions, levels)[2].tolist() == [1, 0, 0, 0]
    assert call(ATSS(topk=3, per_place=1, deviations=0.0), objects, regions, levels)[2].tolist() == [1, 1, 0, 0]
    # 0.95, 0.6, 0.2: 0.583 + 0.375 = 0.959 takes none; biased, 0.583 + 0.306 would take the first
    regions[0, 3] = 9.5
    assert not call(ATSS(topk=3, per_place=1), objects, regions, levels)[2].any()


@pytest.mark.parametrize("settings", [{"topk": 9, "per_place": 1}, {"topk": 4, "per_place": 2}])
def test_a_naive_loop(settings):
    regions, levels = grid((8, 16, 32), (16, 32, 64), (1.0, 0.7)[: settings["per_place"]])
    objects = torch.cat((random_boxes(5, size=40), torch.tensor([[20.0, 20, 23, 23]])))
    index, iou, kind = call(ATSS(**settings), objects, regions, levels, (8, 16, 32))
    ious, owner = pairwise_iou(objects, regions).double(), {}
    centers = (regions[:, :2] + regions[:, 2:]) / 2
    for j, box in enumerate(objects):
        distance = ((centers - (box[:2] + box[2:]) / 2) ** 2).sum(1).sqrt()
        chosen = []
        for level in range(3):
            mine = (levels == level).nonzero()[:, 0]
            k = min(settings["topk"] * settings["per_place"], len(mine))
            chosen += mine[distance[mine].topk(k, largest=False).indices].tolist()
        limit = ious[j, chosen].mean() + ious[j, chosen].std()
        for i in chosen:
            x, y = centers[i].tolist()
            in_box = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
            if ious[j, i] >= limit and in_box and (i not in owner or ious[owner[i], i] < ious[j, i]):
                owner[i] = j
    assert {i: int(index[i]) for i in range(len(regions)) if kind[i] == 1} == owner and owner
    assert set(kind.tolist()) == {0, 1}
    assert torch.equal(iou, pairwise_iou(objects, regions).gather(0, index[None])[0])


def test_no_objects_and_bad_settings():
    regions, levels = grid((8, 16), (16, 32))
    none = torch.zeros(1, 2, dtype=torch.bool)
    assert not call(ATSS(), torch.zeros(2, 4), regions, levels, (8, 16), none)[2].any()
    for bad in ({"topk": 0}, {"per_place": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ATSS(**bad)


def test_mechanism_an_object_between_anchors_finds_regions():
    """Wide boxes of 20 to 60 px anywhere: thresholds leave some with no region, ATSS none."""
    regions, levels = grid((8, 16, 32), (16, 32, 64), size=128)
    at = torch.rand(12, 2, generator=torch.Generator().manual_seed(0)) * 60 + 10
    objects = torch.cat((at, at + torch.linspace(20, 60, 12)[:, None] * torch.tensor([1.0, 0.5])), 1)
    least = {}
    for name, matcher in (("iou", ThresholdMatcher()), ("atss", ATSS(per_place=1))):
        counts = []
        for box in objects:
            if name == "iou":
                kind = matcher(pairwise_iou(box[None], regions)[None], torch.ones(1, 1, dtype=torch.bool))[2]
            else:
                kind = call(matcher, box[None], regions, levels, (8, 16, 32))[2]
            counts.append(int((kind == 1).sum()))
        least[name] = min(counts)
    assert least["iou"] == 0 and least["atss"] >= 1
