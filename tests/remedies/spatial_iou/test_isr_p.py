"""ISR-P: neutral, by hand, a naive loop, no objects, the sum kept, and the best of each object first."""

import pytest
import torch

from imbdet.modeling.boxes import paired_iou
from imbdet.remedies.spatial_iou.isr_p import ISRP, rank_in_group
from tests.helpers import K, Waits, regions


def scene(labels, objects, iou):
    """Regions whose IoU with their object is as given."""
    boxes = torch.tensor([[0.0, 0, 10, 10]] * len(labels))
    targets = torch.tensor([[0.0, 0, 10, 10 * u] for u in iou])
    return regions(labels, boxes=boxes, targets=targets, objects=objects)


def weigh(module, matched, values=None):
    values = torch.ones(len(matched)) if values is None else values
    with Waits() as waits:
        (weights, other), _ = module(values, values, matched)
    assert not waits.found and torch.equal(other, torch.ones_like(other))
    return weights


def test_neutral_weighs_all_alike():
    m = regions([0, 1, 2, K, -1])
    assert torch.allclose(weigh(ISRP(bias=1), m), torch.ones(5)) and torch.allclose(weigh(ISRP(k=0), m), torch.ones(5))


def test_by_hand():
    """One class, two objects with two positives each. The best of both come first: u = 1 (0.9), 3/4 (0.6), 2/4 (0.8),
    1/4 (0.5); k 1: scaled by 4 / 2.5 = 1.6.
    """
    m = scene([0, 0, 0, 0, K], [0, 0, 1, 1, -1], [0.9, 0.8, 0.6, 0.5, 1])
    assert weigh(ISRP(k=1), m).tolist() == pytest.approx([1.6, 0.8, 1.2, 0.4, 1])


def test_a_naive_loop():
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, K + 1, (40,), generator=g).tolist()
    objects = [c * 3 + int(torch.randint(0, 3, (), generator=g)) if 0 <= c < K else -1 for c in labels]
    m = scene(labels, objects, (0.1 + 0.9 * torch.rand(40, generator=g)).tolist())
    values = torch.rand(40, generator=g)
    iou = paired_iou(m.regressed(), m.targets).tolist()
    mine = [i for i in range(40) if 0 <= labels[i] < K]
    most = max(sum(labels[i] == c for i in mine) for c in range(K))
    rank = {i: sum(objects[j] == objects[i] and iou[j] > iou[i] for j in mine) for i in mine}
    key = {i: most - rank[i] + iou[i] for i in mine}
    raw = {
        i: ((most - sum(labels[j] == labels[i] and key[j] > key[i] for j in mine)) / most * 0.8 + 0.2) ** 2
        for i in mine
    }
    scale = sum(values[i] for i in mine) / sum(values[i] * raw[i] for i in mine)
    want = [float(raw[i] * scale) if i in raw else 1.0 for i in range(40)]
    found = weigh(ISRP(bias=0.2), m, values)
    assert found.tolist() == pytest.approx(want, rel=1e-4)
    assert (found * values)[m.foreground].sum().item() == pytest.approx(values[m.foreground].sum().item(), rel=1e-5)


def test_rank_in_group_with_ties():
    assert rank_in_group(torch.tensor([1.0, 3, 2, 1, 3]), torch.tensor([0, 0, 5, 0, 0])).tolist() == [2, 0, 0, 3, 1]


@pytest.mark.parametrize("labels", [[K, -1], [K, K]])
def test_no_objects(labels):
    assert torch.equal(weigh(ISRP(), regions(labels)), torch.ones(2))


def test_mechanism_each_object_keeps_one_important_region():
    """An object with bad boxes only: its best one weighs more than the second ones of an object with good boxes."""
    m = scene([0] * 6, [0] * 5 + [1], [0.95, 0.94, 0.93, 0.92, 0.91, 0.3])
    found = weigh(ISRP(), m)
    assert found[5] > found[1:5].max() and found[0] == found.max()


def test_bad_settings():
    for bad in ({"k": -1}, {"bias": 2}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ISRP(**bad)
