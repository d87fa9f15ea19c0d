import pytest
import torch

from imbdet.config import load_config
from imbdet.modeling.defaults import RandomSampling
from imbdet.remedies.class_fg_bg.instance_balanced_sampling import InstanceBalancedSampling, rank_in_object
from imbdet.remedies.class_fg_bg.iou_balanced_sampling import IoUBalancedSampling

from ._regions import K, batch


def mask(sampler, matched, seed=0):
    torch.manual_seed(seed)
    return sampler(matched)[0]


def objects_with(counts, background=50):
    """One image; object i has counts[i] foreground regions."""
    objects = [i for i, n in enumerate(counts) for _ in range(n)]
    return batch([[0] * len(objects) + [K] * background], objects=[objects + [0] * background])


def kept_of_each(sampler, counts, seed=0):
    m = objects_with(counts)
    kept = mask(sampler, m, seed) & m.foreground
    return torch.bincount(m.objects[kept], minlength=len(counts)).tolist()


def test_ranks_equal_a_naive_count():
    g = torch.Generator().manual_seed(0)
    objects = torch.randint(0, 5, (3, 40), generator=g) + torch.arange(3)[:, None] * 5
    candidates, order = torch.rand(3, 40, generator=g) < 0.6, torch.rand(3, 40, generator=g)
    candidates[2] = False
    rank, number = rank_in_object(objects, candidates, order)
    for i in range(3):
        for j in range(40):
            if candidates[i, j]:
                same = candidates[i] & (objects[i] == objects[i, j])
                assert rank[i, j] == (order[i][same] < order[i, j]).sum()
        assert number[i] == len(set(objects[i][candidates[i]].tolist()))


def test_neutral_with_one_object_all_positives_are_alike():
    m = objects_with([60])
    drawn = torch.stack([mask(InstanceBalancedSampling(64, 0.25), m, seed) for seed in range(300)]).float()[:, :60]
    assert (drawn.sum(1) == 16).all() and drawn.mean(0).sub(16 / 60).abs().max() < 0.1


@pytest.mark.parametrize("counts", [[40, 2], [3, 3, 60], [100, 5, 5, 5]])
def test_by_hand(counts):
    """16 positives: each object at most round(16 / M) + 1 while others have some left; small ones keep all."""
    found = kept_of_each(InstanceBalancedSampling(64, 0.25), counts)
    quota = round(16 / len(counts)) + 1
    assert sum(found) == 16
    supply = sum(min(n, quota) for n in counts)
    if supply >= 16:
        assert all(f <= quota for f in found)
    else:
        assert all(f >= min(n, quota) for f, n in zip(found, counts, strict=True))


def test_fewer_than_wanted_none_and_nothing_at_all():
    assert kept_of_each(InstanceBalancedSampling(64, 0.25), [3, 4]) == [3, 4]
    m = batch([[K] * 30])
    assert mask(InstanceBalancedSampling(8, 0.5), m).sum() == 8
    assert mask(InstanceBalancedSampling(8, 0.5), batch([[-1] * 30])).sum() == 0


def test_mechanism_a_small_object_gets_its_share():
    """One object with 100 positives beside one with 8: at random it gets a fourteenth, here about half."""
    plain = sum(kept_of_each(RandomSampling(64, 0.25), [100, 8], seed)[1] for seed in range(20)) / 20
    balanced = sum(kept_of_each(InstanceBalancedSampling(64, 0.25), [100, 8], seed)[1] for seed in range(20)) / 20
    assert plain < 3 and balanced > 6.5


def test_named_after_iou_balanced_sampling_it_keeps_its_background():
    cfg = load_config("baselines/faster_rcnn_shapes", ["iou_balanced_sampling", "instance_balanced_sampling"])
    node = cfg.model.roi_heads.criterion.region_sampler
    assert node._target_.endswith("InstanceBalancedSampling") and node.background.bins == 3
    with pytest.raises(ValueError, match="name it after"):
        load_config("baselines/faster_rcnn_shapes", ["instance_balanced_sampling", "iou_balanced_sampling"])
    both = InstanceBalancedSampling(30, 0.0, IoUBalancedSampling(30, 0.0))
    m = batch([[K] * 200], iou=torch.cat((torch.zeros(180), torch.full((20,), 0.4))))
    assert (mask(both, m) & (m.iou > 0.3)).sum() >= 10
