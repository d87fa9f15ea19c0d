"""NWD matching: by hand, a naive loop, no objects, and who gains and loses regions."""

import math

import pytest
import torch

from imbdet.config import load_config
from imbdet.modeling.boxes import pairwise_iou
from imbdet.modeling.defaults import ThresholdMatcher
from imbdet.remedies.scale.nwd_matching import NWDMatching
from imbdet.testing import random_boxes


def call(matcher, objects, regions, valid=None):
    """Of one image: objects (M, 4), regions (A, 4)."""
    valid = torch.ones(1, len(objects), dtype=torch.bool) if valid is None else valid
    iou = pairwise_iou(objects, regions)[None] * valid[:, :, None]
    levels = torch.zeros(1, len(regions), dtype=torch.int64)
    return [x[0] for x in matcher(iou, valid, regions=regions[None], levels=levels, objects=objects[None])]


def test_by_hand():
    """Size 10: an offset of 6 px gives exp(-0.6) = 0.549, one of 8 gives 0.449; the IoU is 0 in both."""
    objects = torch.tensor([[0.0, 0, 6, 6]])
    regions = torch.tensor([[6.0, 0, 12, 6], [8.0, 0, 14, 6], [9.5, 0, 15.5, 6]])
    index, iou, kind = call(NWDMatching(0.5, 0.4, size=10.0), objects, regions)
    assert kind.tolist() == [1, -1, 0] and iou.tolist() == [0, 0, 0] and index.tolist() == [0, 0, 0]


@pytest.mark.parametrize("best", [False, True])
def test_a_naive_loop(best):
    objects, regions = random_boxes(5), random_boxes(60, seed=1)
    index, _, kind = call(NWDMatching(0.6, 0.3, best, size=30.0), objects, regions)
    nwd = [[0.0] * 5 for _ in range(60)]
    for i, r in enumerate(regions.tolist()):
        for j, o in enumerate(objects.tolist()):
            (a, b), (c, d) = ([(x[0] + x[2]) / 2, (x[1] + x[3]) / 2] for x in (r, o))
            sides = (r[2] - r[0] - o[2] + o[0]) ** 2 + (r[3] - r[1] - o[3] + o[1]) ** 2
            nwd[i][j] = math.exp(-math.sqrt((a - c) ** 2 + (b - d) ** 2 + sides / 4) / 30)
    winners = {max(range(60), key=lambda i: nwd[i][j]) for j in range(5)} if best else set()
    for i, row in enumerate(nwd):
        assert index[i] == row.index(max(row))
        want = 1 if max(row) >= 0.6 or i in winners else (-1 if max(row) >= 0.3 else 0)
        assert kind[i] == want


def test_no_objects():
    """Padding lies at 0, where regions may lie too: it takes none."""
    objects = torch.zeros(2, 4)
    for best in (False, True):
        kind = call(NWDMatching(0.5, 0.4, best), objects, random_boxes(9), torch.zeros(1, 2, dtype=torch.bool))[2]
        assert not kind.any()


def test_mechanism_tiny_objects_gain_regions_and_large_ones_lose_them():
    """A grid of 8 px: squares of 5 and of 64 px halfway between its points; size 16."""
    xs = torch.arange(0, 128, 8.0)
    centers = torch.stack(torch.meshgrid(xs, xs, indexing="ij"), -1).view(-1, 2)
    found = {}
    for side in (5.0, 64.0):
        regions = torch.cat((centers - side / 2, centers + side / 2), 1)
        box = torch.tensor([[60 - side / 2, 60 - side / 2, 60 + side / 2, 60 + side / 2]])
        for name, matcher in (("iou", ThresholdMatcher()), ("nwd", NWDMatching(size=16.0))):
            arguments = (pairwise_iou(box, regions)[None], torch.ones(1, 1, dtype=torch.bool))
            kind = matcher(*arguments)[2] if name == "iou" else call(matcher, box, regions)[2]
            found[name, side] = int((kind == 1).sum())
    assert found["iou", 5.0] == 0 < found["nwd", 5.0] and found["nwd", 64.0] < found["iou", 64.0]


@pytest.mark.parametrize("remedy", ["nwd_matching", "nwd_matching@rpn"])
def test_config_keeps_the_thresholds(remedy):
    base = "baselines/faster_rcnn_shapes" if "@" in remedy else "baselines/retinanet_shapes"
    plain, cfg = load_config(base), load_config(base, [remedy])
    place = "model.rpn.criterion" if "@" in remedy else "model.criterion"
    one, other = ((getattr(c.model, "rpn", c.model) if "@" in remedy else c.model).criterion for c in (plain, cfg))
    for key in ("foreground", "background", "best_for_each_object"):
        assert one.matcher[key] == other.matcher[key], place
    with pytest.raises(ValueError, match="size"):
        NWDMatching(size=0)
