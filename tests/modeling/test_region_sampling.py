"""Random sampling: the counts detectron2 gives, never an ignored region, each equally likely."""

import pytest
import torch

from imbdet.modeling.defaults import AllRegions, RandomSampling, compress
from tests.helpers import regions


def labels_with(foreground, background, ignored):
    return [0] * foreground + [3] * background + [-1] * ignored


@pytest.mark.parametrize(
    "have, keep",
    [
        ((50, 100, 10), (16, 48)),
        ((5, 100, 10), (5, 59)),
        ((50, 10, 10), (16, 10)),
        ((0, 100, 10), (0, 64)),
        ((0, 0, 9), (0, 0)),
    ],
)
def test_counts(have, keep):
    m = regions([labels_with(*have)])
    mask, _ = RandomSampling(64, 0.25)(m)
    assert ((mask & m.foreground).sum().item(), (mask & m.background).sum().item()) == keep
    assert not (mask & (m.labels == -1)).any()


def test_images_do_not_share_a_budget():
    rows = [labels_with(40, 20, 40), labels_with(0, 90, 10)]
    mask, _ = RandomSampling(64, 0.25)(regions(rows))
    assert mask.view(2, -1).sum(dim=1).tolist() == [36, 64]


def test_every_region_equally_likely():
    m = regions([labels_with(20, 80, 0)])
    torch.manual_seed(0)
    share = torch.stack([RandomSampling(40, 0.25)(m)[0] for _ in range(2000)]).float().mean(0)
    assert share[:20].sub(0.5).abs().max() < 0.06 and share[20:].sub(30 / 80).abs().max() < 0.06


def test_deterministic_under_a_seed():
    m = regions([labels_with(20, 80, 0)])
    picks = []
    for _ in range(2):
        torch.manual_seed(3)
        picks.append(RandomSampling(40)(m)[0])
    assert torch.equal(*picks)


def test_all_regions_leaves_out_the_ignored():
    m = regions([labels_with(2, 3, 4)])
    assert AllRegions()(m)[0].sum() == 5


def test_compress_keeps_exactly_the_mask():
    mask = torch.tensor([[True, False, True, False], [False, False, False, True]])
    index, kept = compress(mask.view(-1), 2, 3)
    assert sorted(index[kept].tolist()) == [0, 2, 7] and len(index) == 6
    assert (index[:3] < 4).all() and (index[3:] >= 4).all()
    assert compress(mask.view(-1), 2, 4) is None and compress(mask.view(-1), 2, None) is None


@pytest.mark.parametrize("per_image, fraction", [(0, 0.5), (10, 1.5)])
def test_bad_settings(per_image, fraction):
    with pytest.raises(ValueError, match="per_image >= 1"):
        RandomSampling(per_image, fraction)


def test_background_ratio_by_hand():
    """At most 5 background regions for each of 3 foreground ones, for one where an image has none, and never more than
    there is room for.
    """
    rows = [labels_with(3, 97, 0), labels_with(0, 90, 10), labels_with(30, 70, 0)]
    m = regions(rows)
    mask, _ = RandomSampling(64, 0.25, background_ratio=5)(m)
    assert (mask & m.foreground).view(3, -1).sum(dim=1).tolist() == [3, 0, 16]
    assert (mask & m.background).view(3, -1).sum(dim=1).tolist() == [15, 5, 48]
    with pytest.raises(ValueError, match="background_ratio must be 0 or more, got -1"):
        RandomSampling(background_ratio=-1)
