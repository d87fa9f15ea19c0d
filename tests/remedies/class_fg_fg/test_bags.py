"""BAGS: by hand, a loop, bins, how many "others" are drawn, scores, no objects, the mechanism."""

import math

import pytest
import torch

from imbdet.remedies.class_fg_fg.bags import BAGS
from imbdet.testing import regions

COUNTS = [500, 40, 30, 5]
EDGES = (10, 100)  # bins {3}, {1, 2}, {0}: logits 0..3 classes, 4..6 others, 7 background, 8 others


def test_by_hand():
    """Zeros, one region of class 1: log 2 of background's bin, log 3 of its own; the bins without a region nothing."""
    value = BAGS(COUNTS, EDGES)(torch.zeros(1, 9), regions([1], 4))[0]
    assert value.item() == pytest.approx(math.log(2) + math.log(3))


def test_a_loop_with_all_others_and_the_gradient():
    labels, logits = [0, 1, 1, 3, 4, 4, -1], torch.randn(7, 9, dtype=torch.float64, requires_grad=True)
    loss, want = BAGS(COUNTS, EDGES, others=100), 0.0
    groups = [([3], 4), ([1, 2], 5), ([0], 6)]
    for row, label in zip(logits.tolist(), labels, strict=True):
        if label < 0:
            continue
        want += (math.log(math.exp(row[7]) + math.exp(row[8])) - row[7 if label == 4 else 8]) / 6
        for classes, other in groups:
            total = sum(math.exp(row[j]) for j in [*classes, other])
            want += (math.log(total) - row[label if label in classes else other]) / 6
    m = regions(labels, 4)
    assert loss(logits, m)[0].sum().item() == pytest.approx(want) and loss.normalizer(m) == 1
    assert torch.autograd.gradcheck(lambda x: loss(x, m)[0], logits)


@pytest.mark.parametrize(
    ("counts", "settings", "bin_of"),
    [
        (COUNTS, {"edges": EDGES}, [2, 1, 1, 0]),
        ([5000, 2000, 5], {"edges": (10, 100, 1000)}, [1, 1, 0]),  # the published ones leave two bins empty
        (COUNTS, {"bins": 2}, [1, 1, 0, 0]),
        (COUNTS, {"bins": 9}, [3, 2, 1, 0]),
        ([500, 0, 5], {"bins": 2}, [1, 0, 0]),
        ([7], {}, [0]),
        ([0, 0], {}, [0, 0]),
    ],
)
def test_bins(counts, settings, bin_of):
    loss = BAGS(counts, **settings)
    assert loss.bin_of.tolist() == bin_of and loss.num_logits(len(counts)) == len(counts) + max(bin_of) + 3


def test_how_many_others_are_drawn():
    loss, inside = BAGS(COUNTS, EDGES, others=2), torch.arange(50) < 3
    candidates = torch.arange(50) >= 10
    drawn = loss._drawn(candidates, inside)
    assert drawn.sum() == 6 and not (drawn & ~candidates).any()
    assert not loss._drawn(candidates, inside & False).any(), "none if the bin has none"
    assert torch.equal(loss._drawn(candidates, torch.ones(50, dtype=torch.bool)), candidates)


def test_scores_compete_within_their_bin_alone():
    logits = torch.randn(5, 9)
    found = BAGS(COUNTS, EDGES).scores(logits)
    left = logits[:, 7:].softmax(dim=1)[:, 1]
    assert torch.allclose(found[:, 1], logits[:, [1, 2, 5]].softmax(dim=1)[:, 0] * left)
    assert torch.allclose(found[:, 3], logits[:, [3, 4]].softmax(dim=1)[:, 0] * left)


def test_no_objects():
    for labels in ([4, 4], [-1, -1]):
        value = BAGS(COUNTS, EDGES)(torch.zeros(2, 9), regions(labels, 4))[0].sum()
        assert value.item() == pytest.approx(math.log(2) if labels[0] == 4 else 0)


def test_mechanism_frequent_objects_do_not_touch_the_logits_of_other_bins():
    z = torch.zeros(10, 9, requires_grad=True)
    BAGS(COUNTS, EDGES)(z, regions([0] * 8 + [4] * 2, 4))[0].sum().backward()
    assert (z.grad[:, 1:6] == 0).all() and (z.grad[:8, 0] < 0).all() and (z.grad[8:, 0] > 0).all()


@pytest.mark.parametrize("bad", [{"bins": 0}, {"others": -1}, {"edges": (100, 10)}])
def test_wrong_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        BAGS(COUNTS, **bad)
