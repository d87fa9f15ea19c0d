"""Repeat-factor sampling: the uniform stream when neutral, factors by hand and by a loop, exact positions, counts."""

import time
from itertools import islice

import numpy as np
import pytest

from imbdet.config import instantiate, load_config
from imbdet.data.datasets.shapes import shapes
from imbdet.data.loader import TrainLoader
from imbdet.data.samplers import BatchPlan, UniformSampler
from imbdet.remedies.class_fg_fg.repeat_factor_sampling import RepeatFactorSampling


def take(sampler, number, start=0):
    return list(islice(sampler.indices(start), number))


def test_neutral_is_the_uniform_stream_itself(made):
    records = made.records(made.random_images(), 4)
    neutral = RepeatFactorSampling(records, seed=3, threshold=0)
    assert take(neutral, 300) == take(UniformSampler(records, seed=3), 300)
    assert take(neutral, 80, 170) == take(UniformSampler(records, seed=3), 80, 170)


def test_by_hand(made):
    """10 images; star in 5, circle in 4, ring in 1; t is the median 0.4. r = sqrt(0.4 / 0.1) = 2 for the ring, 1 for
    others; the empty image and the one whose ring is crowd stay at 1.
    """
    images = [[1], [1, 1], [1], [1], [1, 0], [0], [0], [0, 2], [2], []]
    sampler = RepeatFactorSampling(made.records(images, crowd=[(8, 0)]), max_repeats=None)
    assert sampler.repeats.tolist() == [1, 1, 1, 1, 1, 1, 1, 2, 1, 1]
    assert "threshold 0.4 (that of the median class)" in sampler.describe()


@pytest.mark.parametrize("threshold", [None, 0.02, 0.3, 1.0])
def test_a_naive_loop(made, threshold):
    images = made.random_images()
    shares = [sum(c in image for image in images) / len(images) for c in range(4)]
    t = sorted(shares)[1] / 2 + sorted(shares)[2] / 2 if threshold is None else threshold
    want = [max([1.0, *((t / shares[c]) ** 0.5 for c in image)]) for image in images]
    sampler = RepeatFactorSampling(made.records(images, 4), threshold=threshold, max_repeats=None)
    assert sampler.repeats.tolist() == pytest.approx(want, abs=1e-6)


def test_the_published_threshold_leaves_1000_images_alone_and_the_median_does_not():
    records = shapes(num_images=1000)
    assert (RepeatFactorSampling(records, threshold=1e-3).repeats == 1).all()
    assert (RepeatFactorSampling(records).repeats > 1).any()


def test_positions_are_exact(made):
    sampler = RepeatFactorSampling(made.records(made.random_images(), 4), seed=1)
    assert not float(sampler.repeats.sum()).is_integer()  # so that epochs differ in length
    whole = take(sampler, 2000)
    for start in (0, 1, 59, 60, 85, 86, 87, 1000, 1999):
        assert take(sampler, 2000 - start, start) == whole[start:]


def test_a_far_position_is_found_fast(made):
    sampler = RepeatFactorSampling(made.records(made.random_images(), 4))
    began = time.perf_counter()
    take(sampler, 1, 1_000_000)
    assert time.perf_counter() - began < 2  # 10^4 epochs of 10^2 images; drawing them takes longer


def test_an_image_comes_floor_or_ceil_times_an_epoch_and_r_times_on_average(made):
    sampler = RepeatFactorSampling(made.records(made.random_images(), 4), seed=1)
    n, total = len(sampler.repeats), sampler.repeats.sum()
    epochs = [sampler._epoch(e, (e * 7919) % 2**20) for e in range(600)]
    counts = np.stack([np.bincount(epoch, minlength=n) for epoch in epochs])
    assert (counts >= np.floor(sampler.repeats)).all() and (counts <= np.ceil(sampler.repeats)).all()
    assert {len(epoch) for epoch in epochs} <= {int(total), int(total) + 1}
    assert np.abs(counts.mean(0) - sampler.repeats).max() < 4 * 0.5 / 600**0.5  # 4 standard errors of a coin


def test_mechanism_boxes_of_10000_drawn_images_are_as_expected(made):
    """Drawn and counted one by one: each class gets what `change` says, the rarest more than before."""
    images = made.random_images(200)
    sampler = RepeatFactorSampling(made.records(images, 4))
    drawn = np.array(made.count_boxes(images, take(sampler, 10_000))) * 200 / 10_000
    change = sampler.change
    assert change.before.tolist() == made.count_boxes(images, range(200))
    assert drawn == pytest.approx(change.after, rel=0.01)
    assert change.after[3] > 1.5 * change.before[3] and change.ratios[1] < 0.7 * change.ratios[0]


def test_repeats_are_limited(made):
    images = [[0]] * 99 + [[1]] + [[2]] * 100
    free = RepeatFactorSampling(made.records(images), threshold=0.495, max_repeats=None)
    held = RepeatFactorSampling(made.records(images), threshold=0.495, max_repeats=3)
    assert free.repeats.max() == pytest.approx(99**0.5, abs=1e-5) and held.repeats.max() == 3
    assert "max_repeats holds 1 back" in held.describe() and "holds" not in free.describe()


@pytest.mark.parametrize("images", [[[]] * 5, [[0]], [[]]])
def test_without_objects_or_with_one_image(made, images):
    sampler = RepeatFactorSampling(made.records(images))
    assert (sampler.repeats == 1).all()
    assert sorted(take(sampler, 2 * len(images))) == sorted([*range(len(images))] * 2)
    assert isinstance(sampler.describe(), str)


def test_it_warns_when_repeats_make_the_classes_less_equal(made):
    """The images of the class that is in fewest images (bar) are full of the class with most boxes (circle)."""
    images = [[3] * 20 + [0] * 50] + [[1, 2]] * 20 + [[0]] * 20
    with pytest.warns(UserWarning, match=r"RepeatFactorSampling makes the classes less equal.* 3.5 -> "):
        sampler = RepeatFactorSampling(made.records(images, 4))
    assert sampler.change.ratios[1] > sampler.change.ratios[0]


def test_processes_share_each_batch(made):
    sampler = RepeatFactorSampling(made.records(made.random_images(), 4))
    groups = np.arange(60) % 2
    whole = list(islice(BatchPlan(sampler, 4, 5, groups), 50))
    parts = [list(islice(BatchPlan(sampler, 4, 5, groups, rank=r, world_size=2), 50)) for r in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_the_loader_says_it():
    cfg = load_config("baselines/faster_rcnn_shapes", ["repeat_factor_sampling"], ["data.train.num_images=60"])
    cfg.dataloader.train.num_workers = 0
    loader = instantiate(cfg.dataloader.train)
    assert isinstance(loader, TrainLoader) and isinstance(loader.sampler, RepeatFactorSampling)
    assert "RepeatFactorSampling(threshold" in loader.describe() and "boxes in 60 drawn images" in loader.describe()
    images, _ = next(loader.iterate(start=7))
    assert len(images) == 8


@pytest.mark.parametrize("settings", [{"threshold": -0.1}, {"threshold": 2}, {"max_repeats": 0.5}])
def test_wrong_settings(made, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        RepeatFactorSampling(made.records([[0], [1]]), **settings)
