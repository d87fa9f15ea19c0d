"""What `imbdet.testing` makes: its examples, regions by hand, and detectors that take a step."""

import doctest

import pytest
import torch

from imbdet import testing


def test_examples():
    found = doctest.testmod(testing)
    assert found.attempted >= 6 and not found.failed


def test_regions_by_hand():
    """A region 10 x 10 whose object covers its left half has IoU 50 / 100; background and ignored regions have 0."""
    box, half = [0, 0, 10, 10], [0, 0, 5, 10]
    m = testing.regions([[1, 2], [-1, 0]], num_classes=2, boxes=[box] * 4, targets=[half] * 4)
    assert m.iou.tolist() == [0.5, 0, 0, 0.5] and m.images.tolist() == [0, 0, 1, 1] and m.num_images == 2
    assert m.objects.tolist() == [0, -1, -1, 1] and m.targets[1].tolist() == box and m.targets[3].tolist() == half
    assert torch.allclose(m.regressed(), m.boxes)


def test_random_regions_overlap_their_objects():
    m = testing.regions([0] * 50, num_classes=1, num_images=2)
    assert (m.iou > 0.6).all() and (m.iou < 1).any() and m.images.tolist() == [0] * 25 + [1] * 25
    assert len(testing.regions([], num_classes=3)) == 0


@pytest.mark.parametrize(("labels", "message"), [([3], "labels are -1..2"), ([-2], "labels are"), ([0], "2 images")])
def test_what_regions_refuses(labels, message):
    with pytest.raises(ValueError, match=message):
        testing.regions(labels, num_classes=2, num_images=2 if labels == [0] else 1)


@pytest.mark.parametrize("detector", ["faster_rcnn", "retinanet"])
def test_a_tiny_detector_learns_with_a_remedy(detector):
    model = testing.tiny_detector(detector, ["class_weights"])
    assert sum(p.numel() for p in model.parameters()) < 60_000
    losses, _ = model(*testing.batch(1, 0))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
