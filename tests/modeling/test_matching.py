"""From objects and regions to labels: by hand, against a naive loop, with padding and without any object."""

import pytest
import torch
from torchvision.ops import box_iou

from imbdet.modeling.criterion import match
from imbdet.modeling.defaults import ThresholdMatcher
from imbdet.modeling.preprocess import pad_objects
from imbdet.testing import random_boxes
from tests.helpers import objects_of


def naive(iou, foreground, background, best_for_each):
    """One image, region by region."""
    m, a = iou.shape
    labels = []
    for j in range(a):
        best = max((iou[i, j].item() for i in range(m)), default=0.0)
        kind = 1 if best >= foreground else 0 if best < background else -1
        if best_for_each and any(iou[i, j] == iou[i].max() and iou[i, j] > 0 for i in range(m)):
            kind = 1
        labels.append(kind)
    return labels


@pytest.mark.parametrize("best_for_each", [False, True])
def test_against_a_naive_loop(best_for_each):
    targets, objects = objects_of(4, 0, 7)
    regions = random_boxes(60, seed=9)
    matcher = ThresholdMatcher(0.5, 0.3, best_for_each)
    got = match(regions, torch.zeros(60, dtype=torch.long), objects, matcher, num_classes=3)
    labels, index = got.labels.view(3, 60), got.objects.view(3, 60)
    for n, target in enumerate(targets):
        iou = box_iou(target["boxes"], regions)
        for j, kind in enumerate(naive(iou, 0.5, 0.3, best_for_each)):
            if kind == 1:
                i = iou[:, j].argmax()
                assert labels[n, j] == target["labels"][i] and index[n, j] == n * 7 + i
                assert torch.equal(got.targets.view(3, 60, 4)[n, j], target["boxes"][i])
            else:
                assert labels[n, j] == (3 if kind == 0 else -1)
                assert torch.equal(got.targets.view(3, 60, 4)[n, j], regions[j])
    assert (got.labels < 3).sum() > 5  # the case is not trivial


def test_image_without_objects_is_background():
    _, objects = objects_of(0, 2)
    got = match(random_boxes(10), torch.zeros(10, dtype=torch.long), objects, ThresholdMatcher(0.7, 0.3, True), 3)
    assert (got.labels[:10] == 3).all() and (got.objects[:10] == -1).all() and (got.iou[:10] == 0).all()


def test_object_that_no_region_touches_takes_none():
    far = [{"boxes": torch.tensor([[1000.0, 1000, 1010, 1010]]), "labels": torch.tensor([1])}]
    objects = pad_objects(far, torch.device("cpu"), 3)
    got = match(random_boxes(10), torch.zeros(10, dtype=torch.long), objects, ThresholdMatcher(0.7, 0.3, True), 3)
    assert (got.labels == 3).all()


def test_blocks_give_the_same(monkeypatch):
    _, objects = objects_of(3, 5, 0, 2)
    args = (random_boxes(40), torch.zeros(40, dtype=torch.long), objects, ThresholdMatcher(0.5, 0.4, True), 3)
    whole = match(*args)
    monkeypatch.setattr("imbdet.modeling.criterion.IOU_BLOCK", 1)
    parts = match(*args)
    assert torch.equal(whole.labels, parts.labels) and torch.equal(whole.targets, parts.targets)


def test_padded_regions_are_ignored():
    _, objects = objects_of(2)
    allowed = torch.tensor([[True, False, True]])
    got = match(random_boxes(3).unsqueeze(0), torch.zeros(1, 3).long(), objects, ThresholdMatcher(), 3, allowed)
    assert got.labels[1] == -1 and (got.labels[[0, 2]] != -1).all()


def test_thresholds_in_order():
    with pytest.raises(ValueError, match="background 0.6, foreground 0.5"):
        ThresholdMatcher(0.5, 0.6)
