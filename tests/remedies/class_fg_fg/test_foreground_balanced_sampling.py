"""Foreground-balanced sampling: random sampling when neutral, the chances by hand and by numpy, equal classes."""

from itertools import permutations

import numpy as np
import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.modeling.defaults import RandomSampling
from imbdet.remedies.class_fg_fg.foreground_balanced_sampling import ForegroundBalancedSampling
from tests.helpers import K, regions


def draws(sampler, labels, times):
    """How often each region of one image was kept: `times` equal images in one batch."""
    torch.manual_seed(0)
    return sampler(regions(labels * times, num_images=times))[0].view(times, -1).sum(0)


def test_neutral_is_random_sampling_region_by_region():
    m = regions([0] * 40 + [1] * 9 + [2] + [K] * 46 + [-1] * 4, num_images=2)
    for seed in range(20):
        torch.manual_seed(seed)
        plain, _ = RandomSampling(per_image=24, fraction=0.25)(m)
        torch.manual_seed(seed)
        neutral, _ = ForegroundBalancedSampling(per_image=24, fraction=0.25, power=0)(m)
        assert torch.equal(plain, neutral)


def test_by_hand():
    """One place for foreground, 3 regions of class 0 and one of class 1: p = 1 / (2 * 3) for each of the three, 1 / 2
    for the one. 3000 draws: 500 and 1500, within 4 standard errors.
    """
    kept = draws(ForegroundBalancedSampling(per_image=1, fraction=1.0), [0, 0, 0, 1], 3000)
    assert kept.sum() == 3000
    assert kept.tolist() == pytest.approx([500, 500, 500, 1500], abs=4 * (3000 / 4) ** 0.5)


def test_several_places_by_enumeration():
    """Two of four regions: P(pair) = p_a p_b / (1 - p_a) + p_b p_a / (1 - p_b), one after the other."""
    p = [1 / 6, 1 / 6, 1 / 6, 1 / 2]
    want = np.zeros(4)
    for a, b in permutations(range(4), 2):
        want[[a, b]] += p[a] * p[b] / (1 - p[a])
    kept = draws(ForegroundBalancedSampling(per_image=2, fraction=1.0), [0, 0, 0, 1], 4000)
    assert (kept / 4000).tolist() == pytest.approx(want.tolist(), abs=0.03)


def test_as_numpys_choice_without_replacement():
    """The source's own rule, numpy.random.choice with these p, beside ours: how often each class comes, 1500 draws."""
    labels = np.array([0] * 30 + [1] * 6 + [2] * 2)
    p = (1 / np.bincount(labels))[labels] / 3
    rng = np.random.default_rng(0)
    theirs = sum(np.bincount(labels[rng.choice(38, 9, False, p)], minlength=3) for _ in range(1500))
    kept = draws(ForegroundBalancedSampling(per_image=9, fraction=1.0), labels.tolist(), 1500)
    ours = [kept[labels == c].sum().item() for c in range(3)]
    assert sum(ours) == theirs.sum() and ours == pytest.approx(theirs.tolist(), rel=0.06)


def test_mechanism_all_classes_are_equally_likely():
    """200 regions of class 0, 40 of class 1, 10 of class 2, quota 6: chi-square of the classes of 1000 draws against
    equal shares is small, that of random sampling enormous (2 degrees of freedom: 13.8 is exceeded once in 1000).
    """
    labels = torch.tensor([0] * 200 + [1] * 40 + [2] * 10)

    def chi_square(sampler, times=1000):
        kept = draws(sampler, labels.tolist(), times)
        counts = torch.stack([kept[labels == c].sum() for c in range(3)]).double()
        return ((counts - counts.mean()) ** 2 / counts.mean()).sum().item()

    # the first place of each draw: later ones are without replacement, so that small classes run out
    assert chi_square(ForegroundBalancedSampling(per_image=1, fraction=1.0)) < 13.8
    assert chi_square(RandomSampling(per_image=1, fraction=1.0)) > 500
    assert chi_square(RandomSampling(per_image=6, fraction=1.0)) > 3000
    assert chi_square(ForegroundBalancedSampling(per_image=6, fraction=1.0)) < 100


def test_images_are_balanced_one_by_one():
    """The class that fills the second image does not change the chances in the first."""
    torch.manual_seed(0)
    m = regions([0, 0, 0, 1, 1, 1, 1, 1] * 2000, num_images=4000)
    kept = ForegroundBalancedSampling(per_image=1, fraction=1.0)(m)[0].view(2000, 8).sum(0)
    assert kept[3].item() == pytest.approx(1000, abs=90) and kept[4:].sum() == 2000


def test_quota_background_and_what_is_left_out():
    m = regions([0] * 10 + [1] * 2 + [K] * 8 + [K] * 19 + [-1], num_images=2)
    keep, stats = ForegroundBalancedSampling(per_image=12, fraction=0.25)(m)
    assert (keep & m.foreground).sum() == 3 and (keep & m.background).sum() == 8 + 12
    assert not (keep & ~m.considered).any() and stats["foreground_balanced/left_out"] == 4.5  # 9 and 0
    every, stats = ForegroundBalancedSampling(per_image=100, fraction=0.25)(m)
    assert torch.equal(every, m.considered) and stats["foreground_balanced/left_out"] == 0


def test_many_regions_of_a_class_do_not_underflow():
    """2000 regions of one class: their keys u^2000 are mostly 0 in float32; the priorities still tell them apart."""
    m = regions([0] * 2000 + [1])
    priority = ForegroundBalancedSampling().priority(m)
    assert ((priority > 0) & (priority <= 1)).all() and len(priority[0, :2000].unique()) > 1900


@pytest.mark.parametrize("labels", [[K] * 6, [-1] * 6, [K, -1] * 3])
def test_no_object_at_all(labels):
    m = regions(labels)
    keep, _ = ForegroundBalancedSampling(per_image=4)(m)
    assert keep.sum() == min(4, labels.count(K)) and not (keep & ~m.background).any()


def test_config_keeps_the_baselines_numbers():
    two = load_config("baselines/faster_rcnn_shapes", ["foreground_balanced_sampling"]).model.roi_heads.criterion
    assert two.region_sampler.per_image == 64 and two.region_sampler.fraction == 0.25
    one = load_config("baselines/retinanet_shapes", ["foreground_balanced_sampling"]).model.criterion
    assert one.region_sampler.per_image == 512
    assert isinstance(instantiate(one.region_sampler), ForegroundBalancedSampling)


@pytest.mark.parametrize("bad", [{"per_image": 0}, {"fraction": 1.5}, {"power": 2}])
def test_wrong_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ForegroundBalancedSampling(**bad)
