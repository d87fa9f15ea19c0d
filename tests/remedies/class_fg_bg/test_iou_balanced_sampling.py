import pytest
import torch

from imbdet.modeling.defaults import RandomSampling
from imbdet.remedies.class_fg_bg.iou_balanced_sampling import IoUBalancedSampling

from ._regions import K, batch


def mask(sampler, matched, seed=0):
    torch.manual_seed(seed)
    return sampler(matched)[0].view(matched.num_images, -1)


def background(per_bin):
    """So many background regions in each third of [0, 0.5)."""
    edges = torch.tensor([0.0, 1 / 6, 1 / 3])
    iou = torch.cat([edges[i] + torch.rand(n) / 6.001 for i, n in enumerate(per_bin)])
    return batch([[K] * len(iou)], iou=iou)


def counts(kept, matched):
    return torch.histc(matched.iou[kept.view(-1)], bins=3, min=0, max=0.5).int().tolist()


def test_neutral_with_one_bin_is_random_sampling():
    m = batch([[0] * 20 + [K] * 80], iou=torch.rand(100) / 2.001)
    assert torch.equal(mask(IoUBalancedSampling(32, 0.25, bins=1), m), mask(RandomSampling(32, 0.25), m))


@pytest.mark.parametrize(
    "have, want",
    [([900, 40, 30], [10, 10, 10]), ([900, 4, 30], [16, 4, 10]), ([900, 0, 0], [30, 0, 0]), ([5, 3, 2], [5, 3, 2])],
)
def test_by_hand(have, want):
    """30 of three bins: 10 each; what a bin lacks is drawn from the rest (mostly the first bin, where most are)."""
    m = background(have)
    found = counts(mask(IoUBalancedSampling(30, 0.25), m), m)
    assert sum(found) == sum(want) and all(f >= min(h, 10) for f, h in zip(found, have, strict=True))
    if have[1] not in (4,):
        assert found == want


def test_images_do_not_share_a_budget_and_foreground_is_random_sampling_s():
    rows = [[0] * 40 + [K] * 60, [K] * 100]
    m = batch(rows, iou=torch.rand(200) / 2.001)
    kept = mask(IoUBalancedSampling(64, 0.25), m)
    labels = m.labels.view(2, -1)
    assert (kept & (labels == 0)).sum(1).tolist() == [16, 0] and kept.sum(1).tolist() == [64, 64]


def test_no_background_and_nothing_at_all():
    assert mask(IoUBalancedSampling(8, 0.5), batch([[0] * 20])).sum() == 4
    assert mask(IoUBalancedSampling(8, 0.5), batch([[-1] * 20])).sum() == 0


def test_mechanism_background_near_objects_is_seen_more_often():
    """Of 1000 background regions 20 each are in the two upper bins: at random 2 % each, here a third each."""
    m = background([960, 20, 20])
    plain, balanced = (counts(mask(s, m), m) for s in (RandomSampling(60, 0.25), IoUBalancedSampling(60, 0.25)))
    assert sum(plain[1:]) < 10 and balanced == [20, 20, 20]


def test_bad_settings():
    with pytest.raises(ValueError, match="bins"):
        IoUBalancedSampling(bins=0)
