"""Valid ranges: neutral, by hand, a naive loop, no objects, and the sizes that teach."""

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.modeling.boxes import pairwise_iou
from imbdet.modeling.defaults import ThresholdMatcher
from imbdet.remedies.scale.snip_valid_ranges import SNIPValidRanges
from imbdet.testing import random_boxes


def call(matcher, objects, regions, valid=None):
    valid = torch.ones(1, len(objects), dtype=torch.bool) if valid is None else valid
    iou = pairwise_iou(objects, regions)[None] * valid[:, :, None]
    more = {"regions": regions[None], "levels": torch.zeros(1, len(regions)), "objects": objects[None]}
    return [x[0] for x in matcher(iou, valid, **(more if matcher.geometry else {}))]


@pytest.mark.parametrize("best", [False, True])
def test_neutral_is_the_threshold_matcher(best):
    objects, regions = random_boxes(6), random_boxes(200, seed=1)
    want = call(ThresholdMatcher(0.5, 0.4, best), objects, regions)
    found = call(SNIPValidRanges(0.5, 0.4, best), objects, regions)
    assert all(torch.equal(a, b) for a, b in zip(want, found, strict=True))


def test_by_hand():
    """Objects of 10 and 40 px, range 20..64. On the small one nothing is foreground; regions near it are ignored."""
    objects = torch.tensor([[0.0, 0, 10, 10], [50, 50, 90, 90]])
    regions = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 20], [0, 0, 10, 40], [50, 50, 90, 90], [50, 50, 90, 65]])
    index, iou, kind = call(SNIPValidRanges(low=20, high=64), objects, regions)
    assert kind.tolist() == [-1, -1, 0, 1, 0] and index[3] == 1 and iou[3] == 1
    assert call(ThresholdMatcher(), objects, regions)[2].tolist() == [1, 1, 0, 1, 0]


def test_a_naive_loop():
    objects, regions = random_boxes(8), random_boxes(120, seed=3)
    index, _, kind = call(SNIPValidRanges(low=15, high=30, ignore=0.2), objects, regions)
    iou = pairwise_iou(objects, regions).T.tolist()
    inside = [15 <= ((x2 - x1) * (y2 - y1)) ** 0.5 < 30 for x1, y1, x2, y2 in objects.tolist()]
    for row, k in zip(iou, kind.tolist(), strict=True):
        near = max([v for v, ok in zip(row, inside, strict=True) if ok], default=0)
        far = max([v for v, ok in zip(row, inside, strict=True) if not ok], default=0)
        assert k == (1 if near >= 0.5 else -1 if far > 0.2 else 0)
    assert set(kind.tolist()) == {-1, 0, 1} and all(inside[i] for i in index[kind == 1])


def test_no_objects_and_bad_settings():
    kind = call(SNIPValidRanges(low=9), torch.zeros(2, 4), random_boxes(9), torch.zeros(1, 2, dtype=torch.bool))[2]
    assert not kind.any()
    for bad in ({"low": -1}, {"low": 5, "high": 5}, {"ignore": 2}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            SNIPValidRanges(**bad)


def test_mechanism_nine_of_ten_objects_of_the_data_teach():
    cfg = load_config("baselines/retinanet_shapes", ["snip_valid_ranges"], ["data.train.num_images=60"])
    matcher = instantiate(cfg.model.criterion.matcher)
    records = instantiate(cfg.data.train)
    sizes = records.xywh[:, 2:].prod(axis=1) ** 0.5
    assert ((sizes >= matcher.low) & (sizes < matcher.high)).mean() == pytest.approx(0.9, abs=0.02)
    assert matcher.background == 0.4 and matcher.best_for_each_object
