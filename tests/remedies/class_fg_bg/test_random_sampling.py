import torch

from imbdet.config import instantiate, load_config
from imbdet.modeling import defaults
from imbdet.remedies.class_fg_bg.random_sampling import RandomSampling

from ._regions import K, batch


def mask(sampler, matched, seed=0):
    torch.manual_seed(seed)
    return sampler(matched)[0]


def test_neutral_is_the_baselines_sampler():
    matched = batch([[0] * 30 + [K] * 60 + [-1] * 10] * 2)
    plain = defaults.RandomSampling(32, 0.25)
    assert torch.equal(mask(RandomSampling(32, 0.25), matched), mask(plain, matched))


def test_by_hand_and_against_a_naive_count():
    """32 an image, a quarter of them foreground: 8 of 30 and 24 of 60; with 3 objects 3 and 29; without any 32."""
    rows = [[0] * 30 + [K] * 60, [1] * 3 + [K] * 87, [K] * 90]
    matched = batch(rows)
    kept = mask(RandomSampling(32, 0.25), matched).view(3, -1)
    labels = matched.labels.view(3, -1)
    assert (kept & (labels < K)).sum(1).tolist() == [8, 3, 0] and (kept & (labels == K)).sum(1).tolist() == [24, 29, 32]


def test_mechanism_background_no_longer_outnumbers_the_objects_on_retinanet():
    cfg = load_config("baselines/retinanet_shapes", ["random_sampling"])
    sampler = instantiate(cfg.model.criterion.region_sampler)
    matched = batch([[0] * 20 + [K] * 5000])
    kept = mask(sampler, matched)
    assert matched.foreground.float().mean() < 0.005
    assert (matched.foreground & kept).sum() / kept.sum() == 20 / 256


def test_no_objects_and_nothing_at_all():
    assert mask(RandomSampling(8, 0.5), batch([[K] * 20])).sum() == 8
    assert mask(RandomSampling(8, 0.5), batch([[-1] * 20])).sum() == 0
