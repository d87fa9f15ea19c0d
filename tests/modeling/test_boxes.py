"""Boxes: numbers by hand, a naive loop, torchvision, and the corners of the domain."""

import math

import pytest
import torch
from torchvision.ops import box_iou

from imbdet.modeling.boxes import SCALE_CLAMP, BoxCoder, clip, paired_iou, pairwise_iou
from imbdet.testing import random_boxes


def test_encode_by_hand():
    """Region 10x20 at (0, 0), box 20x20 at (5, 0): dx = (15 - 5) / 10 = 1, dy = 0, dw = ln 2, dh = 0."""
    deltas = BoxCoder((10, 10, 5, 5)).encode(torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 20]]))
    assert torch.allclose(deltas, torch.tensor([[10.0, 0, 5 * math.log(2), 0]]))


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (10, 10, 5, 5), (30, 30, 15, 15)])
def test_decode_undoes_encode(weights):
    coder, a, b = BoxCoder(weights), random_boxes(50), random_boxes(50, seed=1)
    assert torch.allclose(coder.decode(coder.encode(a, b), a), b, atol=1e-3)


def test_decode_clamps_the_size():
    out = BoxCoder().decode(torch.tensor([[0.0, 0, 100, -100]]), torch.tensor([[0.0, 0, 16, 16]]))
    assert out[0, 2] - out[0, 0] == pytest.approx(16 * math.exp(SCALE_CLAMP)) == pytest.approx(1000)
    assert torch.isfinite(out).all()


def test_encode_of_an_empty_region_is_finite():
    empty = torch.tensor([[5.0, 5, 5, 5]])
    assert torch.isfinite(BoxCoder().encode(empty, empty)).all()


def test_bad_weights():
    with pytest.raises(ValueError, match="four positive"):
        BoxCoder((1, 1, 0, 1))


def test_pairwise_iou_equals_torchvision():
    a, b = random_boxes(20), random_boxes(30, seed=1)
    assert torch.allclose(pairwise_iou(a, b), box_iou(a, b))
    assert torch.equal(paired_iou(a, b[:20]), pairwise_iou(a, b[:20]).diagonal())


def test_iou_by_hand():
    """Two unit squares that share half: 0.5 / 1.5; touching: 0; without area: 0."""
    a = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
    b = torch.tensor([[0.5, 0, 1.5, 1], [1, 0, 2, 1], [0, 0, 0, 0]])
    assert torch.allclose(paired_iou(a, b), torch.tensor([1 / 3, 0, 0]))
    assert torch.allclose(pairwise_iou(a, b).diagonal(), torch.tensor([1 / 3, 0, 0]))


def test_clip_to_each_image():
    boxes = torch.tensor([[[-5.0, -5, 50, 50]], [[-5, -5, 50, 50]]])
    assert clip(boxes, torch.tensor([[20, 30], [40, 60]])).tolist() == [[[0, 0, 30, 20]], [[0, 0, 50, 40]]]


def test_clip_of_what_is_not_finite():
    boxes = torch.tensor([[[math.nan, -math.inf, math.inf, 3.0]]])
    assert clip(boxes, torch.tensor([[20, 30]])).tolist() == [[[0, 0, 30, 3]]]
