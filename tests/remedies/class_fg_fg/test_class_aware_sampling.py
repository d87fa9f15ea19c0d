"""Class-aware sampling: rounds of all classes, lists without repeats, expected counts, limits, exact positions."""

import time
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from imbdet.config import instantiate, load_config
from imbdet.data.samplers import BatchPlan
from imbdet.remedies.class_fg_fg.class_aware_sampling import ClassAwareSampling


def take(sampler, number, start=0):
    return list(islice(sampler.indices(start), number))


def test_on_balanced_classes_each_image_comes_once_in_n_draws_as_in_the_baseline(made):
    records = made.records([[0]] * 5 + [[1]] * 5 + [[2]] * 5)
    stream = take(ClassAwareSampling(records, seed=4), 60)
    assert all(sorted(stream[i : i + 15]) == list(range(15)) for i in (0, 15, 30, 45))
    assert stream[:15] != stream[15:30] and stream != take(ClassAwareSampling(records, seed=5), 60)


def test_every_round_has_each_class_once_and_lists_are_used_up_before_they_repeat(made):
    """One class an image: image i is of class i // 7 for the first 14, the 15th is the only one of class 2."""
    images = [[0]] * 7 + [[1]] * 7 + [[2]]
    stream = take(ClassAwareSampling(made.records(images), max_repeats=None), 3 * 70)
    for begin in range(0, len(stream), 3):
        assert sorted(images[i][0] for i in stream[begin : begin + 3]) == [0, 1, 2]
    for c in (0, 1):
        own = [i for i in stream if images[i] == [c]]
        lists = [tuple(own[k : k + 7]) for k in range(0, 70, 7)]
        assert all(len(set(one)) == 7 for one in lists) and len(set(lists)) > 5  # shuffled anew each time
    orders = {tuple(images[i][0] for i in stream[k : k + 3]) for k in range(0, len(stream), 3)}
    assert len(orders) == 6


def test_by_hand(made):
    """4 images, one empty, circle in 3, star in 1. In 4 draws 1 is for the empty one, 1.5 for each class: the star's
    image comes 1.5 times for its star and 1.5 / 3 for its circle, the other two 1.5 / 3 times.
    """
    sampler = ClassAwareSampling(made.records([[0], [0, 0], [0, 1], []], 2), max_repeats=None)
    assert sampler.repeats.tolist() == pytest.approx([0.5, 0.5, 2.0, 1.0], abs=1e-5)


def test_a_naive_enumeration_and_10000_draws(made):
    """Expected repeats by walking over classes and images; then drawn and counted, images and boxes."""
    images = made.random_images(120)
    sampler = ClassAwareSampling(made.records(images, 4), max_repeats=None)
    holders = [[i for i, image in enumerate(images) if c in image] for c in range(4)]
    empty = [i for i, image in enumerate(images) if not image]
    want = np.zeros(120)
    for members in holders:
        for i in members:
            want[i] += (120 - len(empty)) / 4 / len(members)
    want[empty] = 1
    assert sampler.repeats == pytest.approx(want, abs=1e-4)
    stream = take(sampler, 10_000)
    assert np.bincount(stream, minlength=120) * 0.012 == pytest.approx(want, abs=0.05)
    drawn = np.array(made.count_boxes(images, stream)) * 0.012
    assert drawn == pytest.approx(sampler.change.after, rel=0.02)


def test_mechanism_the_ratio_of_boxes_falls_but_not_to_one(made):
    """The classes are drawn alike; their boxes are not, as images bring other classes along."""
    before, after = ClassAwareSampling(made.records(made.random_images(200), 4), max_repeats=None).change.ratios
    assert 1.2 < after < before / 3


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_no_class_repeats_its_images_more_than_the_limit(made, limit):
    """One class an image, of very different sizes: no image comes more than `limit` times in N draws, and classes
    that are not held back still come equally often.
    """
    images = [[0]] * 100 + [[1]] * 60 + [[2]] * 6 + [[3]]
    sampler = ClassAwareSampling(made.records(images, 4), max_repeats=limit)
    assert sampler.repeats.max() <= limit * (1 + 1e-4)
    stream = take(sampler, 167 * 60)
    counts = Counter(images[i][0] for i in stream)
    assert max(Counter(stream).values()) <= limit * 60 * 1.02
    assert counts[3] == pytest.approx(60 * limit, rel=0.02)
    if limit > 1:
        assert counts[0] == pytest.approx(counts[1], rel=0.02)
    else:
        assert sampler.repeats == pytest.approx(np.ones(167), abs=1e-4)  # every image once: the natural frequencies


@pytest.mark.parametrize("limit", [None, 2])
def test_positions_are_exact(made, limit):
    images = made.random_images(50) + [[3]]
    sampler = ClassAwareSampling(made.records(images, 4), seed=7, max_repeats=limit)
    whole = take(sampler, 1500)
    for start in (0, 1, 3, 4, 5, 100, 777, 1499):
        assert take(sampler, 1500 - start, start) == whole[start:]
    began = time.perf_counter()
    take(sampler, 1, 10**9)
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("images", [[[]] * 5, [[0]], [[]], [[0], []]])
def test_without_objects_or_with_one_image(made, images):
    sampler = ClassAwareSampling(made.records(images), seed=1)
    assert sampler.repeats == pytest.approx(np.ones(len(images)))
    assert Counter(take(sampler, 6 * len(images))) == {i: 6 for i in range(len(images))}


def test_processes_share_each_batch(made):
    sampler = ClassAwareSampling(made.records(made.random_images(), 4))
    whole = list(islice(BatchPlan(sampler, 4, 5), 50))
    parts = [list(islice(BatchPlan(sampler, 4, 5, rank=r, world_size=2), 50)) for r in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


def test_config_and_wrong_settings(made):
    cfg = load_config("baselines/retinanet_shapes", ["class_aware_sampling"], ["data.train.num_images=40"])
    loader = instantiate(cfg.dataloader.train)
    assert isinstance(loader.sampler, ClassAwareSampling)
    assert "ClassAwareSampling(max_repeats 10 for each class)" in loader.describe()
    with pytest.raises(ValueError, match="max_repeats must be at least 1 or None, got 0.5"):
        ClassAwareSampling(made.records([[0]]), max_repeats=0.5)
