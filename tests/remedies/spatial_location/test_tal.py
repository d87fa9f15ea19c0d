"""Task-aligned assignment: neutral, by hand, a naive loop, no objects, and class and box together."""

import pytest
import torch

from imbdet.modeling.boxes import BoxCoder, pairwise_iou
from imbdet.modeling.defaults import Considered, SigmoidCrossEntropy
from imbdet.remedies.spatial_location.tal import TAL
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
    assert TAL(topk=0).rematch(matched, *rest) is matched


def test_by_hand():
    """One object, three regions on it. Scores 0.5, 0.9, 0.5 and IoU 1, 0.5, 0.9: t = 0.5, 0.014, 0.266."""
    boxes = torch.tensor([[[0.0, 0, 20, 20]]])
    objects = Objects(boxes, torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))
    regions = torch.tensor([[0.0, 0, 20, 20], [0, 0, 20, 10], [0, 0, 20, 18], [60, 60, 80, 80]])
    made = criterion(SigmoidCrossEntropy(), Considered())
    matched = made.match(regions, torch.zeros(4, dtype=torch.int64), objects)
    logits = torch.logit(torch.tensor([0.5, 0.9, 0.5, 0.99])).unsqueeze(1).expand(4, K)
    found = TAL(topk=2).rematch(matched, objects, logits, torch.zeros(4, 4), made)
    assert found.labels.tolist() == [0, K, 0, K] and found.iou.tolist() == pytest.approx([1, 0.5, 0.9, 0])
    found = TAL(topk=1, alpha=20.0, beta=1.0).rematch(matched, objects, logits, torch.zeros(4, 4), made)
    assert found.labels.tolist() == [K, 0, K, K], "with a large alpha the score decides"


@pytest.mark.parametrize("topk", [1, 4, 100])
def test_a_naive_loop(topk):
    matched, objects, logits, outputs, made = scene()
    with Waits() as waits:
        found = TAL(topk=topk).rematch(matched, objects, logits, outputs, made)
    assert not waits.found
    owner, a = {}, 40
    boxes = made.boxes(outputs, matched.boxes)
    for i in range(len(objects.labels)):
        for j in range(objects.labels.shape[1]):
            if not objects.valid[i, j]:
                continue
            gt, t = objects.boxes[i, j], {}
            iou = pairwise_iou(gt[None], boxes[i * a : (i + 1) * a])[0]
            for r in range(i * a, (i + 1) * a):
                x1, y1, x2, y2 = matched.boxes[r].tolist()
                x, y = (x1 + x2) / 2, (y1 + y2) / 2
                if min(x - gt[0], y - gt[1], gt[2] - x, gt[3] - y) > 0.01 and iou[r - i * a] > 0:
                    t[r] = (logits[r, objects.labels[i, j]].sigmoid() * iou[r - i * a] ** 6).item()
            for r in sorted(t, key=t.get, reverse=True)[:topk]:
                u = iou[r - i * a].item()
                if r not in owner or owner[r][0] < u:
                    owner[r] = u, int(objects.labels[i, j]), i * objects.labels.shape[1] + j
    mine = found.foreground.nonzero()[:, 0].tolist()
    assert set(mine) == set(owner) and mine
    assert all(found.labels[r] == owner[r][1] and found.objects[r] == owner[r][2] for r in mine)
    assert (found.labels[a:] == K).all(), "the image without objects is background"


def test_bad_settings():
    for bad in ({"topk": -1}, {"alpha": -1}, {"beta": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            TAL(**bad)


def test_mechanism_the_region_that_knows_the_class_is_chosen_over_the_one_that_does_not():
    """Two regions at one place: whichever gets the higher score becomes the only foreground."""
    objects = Objects(
        torch.tensor([[[0.0, 0, 20, 20]]]), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool)
    )
    made = criterion(SigmoidCrossEntropy(), Considered())
    matched = made.match(torch.tensor([[0.0, 0, 20, 20]] * 2), torch.zeros(2, dtype=torch.int64), objects)
    for better in (0, 1):
        logits = torch.zeros(2, K)
        logits[better, 0] = 1.0
        found = TAL(topk=1).rematch(matched, objects, logits, torch.zeros(2, 4), made)
        assert found.foreground.tolist() == [better == 0, better == 1]
