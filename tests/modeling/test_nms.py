"""Suppression: both ways against torchvision's, image by image and group by group."""

import pytest
import torch
from torchvision.ops import batched_nms as peer

from imbdet.modeling import nms as module
from imbdet.modeling.nms import best, pairwise_nms, suppress
from imbdet.testing import random_boxes


def case(n=3, d=200, groups=4):
    g = torch.Generator().manual_seed(0)
    boxes = random_boxes(n * d, size=60).view(n, d, 4)
    return (
        boxes,
        torch.rand(n, d, generator=g),
        torch.randint(groups, (n, d), generator=g),
        torch.rand(n, d, generator=g) > 0.2,
    )


@pytest.mark.parametrize("limit", [50_000, 200, 1])
def test_equals_torchvision_image_by_image(limit):
    boxes, scores, groups, valid = case()
    index, kept = best(scores, suppress(boxes, scores, groups, valid, 0.5, limit), 30)
    for i in range(3):
        real = valid[i].nonzero().squeeze(1)
        want = real[peer(boxes[i, real], scores[i, real], groups[i, real], 0.5)][:30]
        assert torch.equal(index[i, kept[i]], want)


def test_pairs_equal_the_kernel():
    boxes, scores, _, valid = case(d=300)
    order = scores.argsort(dim=1, descending=True)
    boxes, valid = boxes.gather(1, order.unsqueeze(-1).expand(-1, -1, 4)), valid.gather(1, order)
    keep = pairwise_nms(boxes, valid, 0.5)
    for i in range(3):
        real = valid[i].nonzero().squeeze(1)
        ranks = -torch.arange(len(real), dtype=torch.float)
        want = torch.zeros(300, dtype=torch.bool)
        want[real[peer(boxes[i, real], ranks, torch.zeros_like(real), 0.5)]] = True
        assert torch.equal(keep[i], want)
    assert 0 < keep.sum() < valid.sum()


def test_chain_by_hand():
    """Each overlaps the next only: the second goes, so the third stays, so the fourth goes."""
    x = torch.arange(4) * 4.0
    boxes = torch.stack((x, torch.zeros(4), x + 10, torch.full((4,), 10.0)), dim=1).unsqueeze(0)
    assert pairwise_nms(boxes, torch.ones(1, 4, dtype=torch.bool), 0.4).tolist() == [[True, False, True, False]]


def test_nothing_valid():
    boxes, scores, groups, valid = case()
    _, kept = best(scores, suppress(boxes, scores, groups, torch.zeros_like(valid), 0.5), 10)
    assert not kept.any()


def test_best_are_sorted_and_bounded():
    boxes, scores, groups, valid = case()
    index, kept = best(scores, suppress(boxes, scores, groups, valid, 0.9), 7)
    assert index.shape == (3, 7) and kept.all()
    assert (scores.gather(1, index).diff(dim=1) <= 0).all()
    assert module.limit_at_test(boxes) == module.LIMIT_CPU
