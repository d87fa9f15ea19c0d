"""SimOTA: neutral, by hand, a naive loop, no objects, and the number of regions that follows the IoU."""

import math

import pytest
import torch

from imbdet.modeling.boxes import BoxCoder, pairwise_iou
from imbdet.modeling.defaults import Considered, SigmoidCrossEntropy
from imbdet.remedies.spatial_location.simota import FAR, SimOTA
from imbdet.structures import Objects
from imbdet.testing import random_boxes
from tests.helpers import K, Waits, criterion


def scene(n=2, a=40, m=3, seed=0):
    """n images of a regions and m objects, the last image without any: matched, objects, logits, outputs, criterion."""
    g = torch.Generator().manual_seed(seed)
    regions, levels = random_boxes(a, seed, size=60), torch.arange(a) % 2
    boxes = torch.stack([random_boxes(m, seed + 1 + i, size=40) for i in range(n)])
    valid = torch.arange(n).unsqueeze(1).expand(n, m) < n - 1
    objects = Objects(boxes * valid.unsqueeze(2), torch.randint(0, K, (n, m), generator=g) * valid, valid)
    made = criterion(SigmoidCrossEntropy(), Considered(), box_coder=BoxCoder())
    matched = made.match(regions, levels, objects)
    logits = torch.randn(n * a, K, generator=g) * 2
    return matched, objects, logits, 0.2 * torch.randn(n * a, 4, generator=g), made


def test_neutral_is_the_first_pass():
    matched, *rest = scene()
    assert SimOTA(candidates=0).rematch(matched, *rest) is matched


def one_object(regions, logits, **settings):
    objects = Objects(
        torch.tensor([[[0.0, 0, 20, 20]]]), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool)
    )
    made, a = criterion(SigmoidCrossEntropy(), Considered()), len(regions)
    matched = made.match(torch.tensor(regions), torch.zeros(a, dtype=torch.int64), objects)
    matcher = SimOTA(**settings)
    matcher.build((8,))
    return matcher.rematch(matched, objects, logits, torch.zeros(a, 4), made)


def test_by_hand():
    """IoU 1, 0.9, 0.5, 0.1 sum to 2.5: two regions. Cost 3 (-log u): 0 and 0.32 and 2.08; equal scores."""
    regions = [[0.0, 0, 20, 20], [0, 0, 20, 18], [0, 0, 20, 10], [0, 0, 20, 2], [60, 60, 80, 80]]
    assert one_object(regions, torch.zeros(5, K)).labels.tolist() == [0, 0, K, K, K]
    logits = torch.zeros(5, K)
    logits[1, 0] = -10.0  # 10 more than log 2: dearer than the third region's 2.08 - 0.32
    assert one_object(regions, logits).labels.tolist() == [0, K, 0, K, K]


@pytest.mark.parametrize("settings", [{}, {"candidates": 3, "radius": 1.0, "weight": 1.0}])
def test_a_naive_loop(settings):
    matched, objects, logits, outputs, made = scene()
    matcher = SimOTA(**settings)
    matcher.build((8, 16))
    with Waits() as waits:
        found = matcher.rematch(matched, objects, logits, outputs, made)
    assert not waits.found
    boxes, a, m, owner = made.boxes(outputs, matched.boxes), 40, objects.labels.shape[1], {}
    for j in range(m):  # the second image has none
        gt, label, cost, u = objects.boxes[0, j].tolist(), int(objects.labels[0, j]), {}, {}
        for r in range(a):
            x1, y1, x2, y2 = matched.boxes[r].tolist()
            x, y, reach = (x1 + x2) / 2, (y1 + y2) / 2, matcher.radius * (8, 16)[int(matched.levels[r])]
            within = min(x - gt[0], y - gt[1], gt[2] - x, gt[3] - y) > 0
            near = max(abs(x - (gt[0] + gt[2]) / 2), abs(y - (gt[1] + gt[3]) / 2)) < reach
            if not (within or near):
                continue
            u[r] = pairwise_iou(objects.boxes[0, j : j + 1], boxes[r : r + 1]).item()
            p = logits[r].sigmoid().clamp(1e-6, 1 - 1e-6).tolist()
            bce = sum(-math.log(q) if k == label else -math.log(1 - q) for k, q in enumerate(p))
            cost[r] = bce - matcher.weight * math.log(u[r] + 1e-8) + FAR * (not (near and within))
        k = max(1, int(sum(sorted(u.values(), reverse=True)[: matcher.candidates])))
        for r in sorted(cost, key=cost.get)[:k]:
            if r not in owner or owner[r][0] > cost[r]:
                owner[r] = cost[r], label, j
    mine = found.foreground.nonzero()[:, 0].tolist()
    assert set(mine) == set(owner) and mine
    assert all(found.labels[r] == owner[r][1] and found.objects[r] == owner[r][2] for r in mine)
    assert (found.labels[a:] == K).all()


def test_bad_settings():
    for bad in ({"candidates": -1}, {"radius": -1}, {"weight": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            SimOTA(**bad)


def test_mechanism_an_object_that_is_predicted_well_gets_more_regions():
    """Ten regions at the object: with IoU 1 all ten of it, with IoU 0.25 two."""
    for size, want in ((20.0, 10), (10.0, 2)):
        low, high = 10 - size / 2, 10 + size / 2
        found = one_object([[low, low, high, high]] * 10, torch.zeros(10, K))
        assert found.foreground.sum() == want


def test_the_classification_cost_is_binary_cross_entropy_with_the_class():
    """Also of scores of 0 and 1, which are kept off the ends."""
    scores = torch.tensor([[0.2, 0.7, 0.1], [0.9, 0.5, 0.3], [1.0, 0.0, 0.5]])
    objects = Objects(torch.zeros(1, 2, 4), torch.tensor([[1, 0]]), torch.ones(1, 2, dtype=torch.bool))
    found = SimOTA._classification_cost(scores, objects)
    for j, label in enumerate((1, 0)):
        truth = torch.zeros(3, 3)
        truth[:, label] = 1
        want = torch.nn.functional.binary_cross_entropy(scores.clamp(1e-6, 1 - 1e-6), truth, reduction="none").sum(1)
        assert torch.allclose(found[0, j], want, rtol=1e-4)


def test_a_region_that_two_objects_claim_goes_to_the_cheaper_one():
    regions = torch.tensor([[0.0, 0, 20, 20]])
    boxes = torch.tensor([[[0.0, 0, 20, 20], [0, 0, 20, 18]]])
    for wanted in (0, 1):
        objects = Objects(boxes, torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool))
        made = criterion(SigmoidCrossEntropy(), Considered())
        matched = made.match(regions, torch.zeros(1, dtype=torch.int64), objects)
        matcher, logits = SimOTA(), torch.full((1, K), -5.0)
        matcher.build((8,))
        logits[0, wanted] = 5.0
        assert matcher.rematch(matched, objects, logits, torch.zeros(1, 4), made).labels.tolist() == [wanted]
