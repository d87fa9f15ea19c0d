"""Co-occurrence-aware sampling: neutral, by hand, scipy's solution, bounds, draws, size, and what it does better."""

import time
from itertools import islice

import numpy as np
import pytest

from imbdet.config import instantiate, load_config
from imbdet.data.samplers import BatchPlan, UniformSampler
from imbdet.remedies.class_fg_fg._class_counts import ImageClasses
from imbdet.remedies.class_fg_fg._nearest_repeats import nearest_repeats
from imbdet.remedies.class_fg_fg.co_occurrence_sampling import CoOccurrenceSampling
from imbdet.remedies.class_fg_fg.repeat_factor_sampling import RepeatFactorSampling


def take(sampler, number, start=0):
    return list(islice(sampler.indices(start), number))


def matrix(images, num_classes):
    """(K, N): boxes of class c in image i."""
    return np.array([[image.count(c) for image in images] for c in range(num_classes)], dtype=float)


def test_neutral_is_the_uniform_stream_itself(made):
    records = made.records(made.random_images(), 4)
    neutral = CoOccurrenceSampling(records, seed=3, power=0)
    assert take(neutral, 200) == take(UniformSampler(records, seed=3), 200)


def test_by_hand(made):
    """circle in 3 images, star in 1, one box each, target 2 and 2, hardly any price: the circles come 2/3 times, the
    star twice; the empty image stays.
    """
    sampler = CoOccurrenceSampling(made.records([[0], [0], [0], [1], []], 2), power=1, ridge=1e-6)
    assert sampler.repeats.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2, 1], abs=1e-4)


def test_the_price_by_hand(made):
    """Two images, circle in one, star in the other with 3 boxes; target 2 each, ridge 2, so that for each image
    min (b r - 1)^2 + (r - 1)^2 with b = 1/2 and 3/2: r = (b + 1) / (b^2 + 1) = 1.2 and 10/13.
    """
    sampler = CoOccurrenceSampling(made.records([[0], [1, 1, 1]], 2), power=1, ridge=2)
    assert sampler.repeats.tolist() == pytest.approx([1.2, 10 / 13], abs=1e-5)


@pytest.mark.parametrize("low, high, ridge", [(0.0, 1e6, 0.1), (0.0, 3.0, 0.01), (0.1, 10.0, 0.1), (0.5, 1.5, 1e-3)])
def test_equals_scipys_bounded_least_squares(made, low, high, ridge):
    """The same problem, stacked: [B; sqrt(ridge / N) I] r = [1; sqrt(ridge / N)]."""
    optimize = pytest.importorskip("scipy.optimize")
    images = made.random_images(80)
    counts = matrix(images, 4)
    n, target = 80, counts.sum(1) ** 0.5
    target *= counts.sum() / target.sum()
    root = (ridge / n) ** 0.5
    rows = np.vstack([counts / target[:, None], root * np.eye(n)])
    wanted = np.append(np.ones(4), np.full(n, root))
    found = optimize.lsq_linear(rows, wanted, (low, high), tol=1e-13, max_iter=1000).x
    ours = nearest_repeats(ImageClasses.of(made.records(images, 4)), target, low, high, ridge)
    assert ours == pytest.approx(found, abs=1e-4)
    cost = [((rows @ r - wanted) ** 2).sum() for r in (ours, found)]
    assert cost[0] <= cost[1] * (1 + 1e-9)


def test_without_bounds_it_is_scipys_nnls(made):
    optimize = pytest.importorskip("scipy.optimize")
    images = made.random_images(30)
    counts = matrix(images, 4)
    rows = np.vstack([counts / counts.sum(1)[:, None], (0.01 / 30) ** 0.5 * np.eye(30)])
    target = np.array([1.0, 3.0, 2.0, 0.5])
    rows[:4] /= target[:, None]
    found, _ = optimize.nnls(rows, np.append(np.ones(4), np.full(30, (0.01 / 30) ** 0.5)))
    ours = nearest_repeats(ImageClasses.of(made.records(images, 4)), counts.sum(1) * target, 0, 1e9, 0.01)
    assert ours == pytest.approx(found, abs=1e-5)


def test_equal_images_get_equal_repeats_within_the_bounds(made):
    images = made.random_images(200)
    repeats = CoOccurrenceSampling(made.records(images, 4), power=1, min_repeats=0.3, max_repeats=4).repeats
    assert repeats.min() == pytest.approx(0.3, abs=1e-6) and repeats.max() == 4
    by_content = {}
    for image, r in zip(images, repeats, strict=True):
        by_content.setdefault(tuple(sorted(image)), set()).add(r)
    assert all(len(values) == 1 for values in by_content.values()) and by_content[()] == {1.0}


def test_crowd_and_absent_classes_count_nowhere(made):
    """ring and bar do not occur, the star of image 1 is crowd: circles and the star of image 0 are reckoned with."""
    images = [[0, 1], [0, 1], [0], [0]]
    sampler = CoOccurrenceSampling(made.records(images, 4, crowd=[(1, 1)]), power=1, max_repeats=5)
    assert sampler.repeats[1] == sampler.repeats[2] == sampler.repeats[3] < 1 < sampler.repeats[0]
    assert sampler.change.before.tolist() == [4, 1, 0, 0]


def test_mechanism_the_ratio_falls_where_factors_of_the_rarest_class_cannot_lower_it(made):
    """The bar comes in two kinds of images: with 12 circles, or alone. Repeat factors treat them alike and bring the
    circles along; here the lone ones rise and the others do not.
    """
    images = [[3] + [0] * 12] * 6 + [[3]] * 6 + [[0, 1]] * 40 + [[0, 2]] * 30
    records = made.records(images, 4)
    ours, factors = CoOccurrenceSampling(records, power=1), RepeatFactorSampling(records)
    assert factors.repeats[0] == factors.repeats[6] > 1
    assert ours.repeats[6] > 3 > 1 > ours.repeats[0]
    assert ours.change.ratios[1] < 0.6 * factors.change.ratios[1]


def test_boxes_of_10000_drawn_images_are_as_expected(made):
    images = made.random_images(200)
    sampler = CoOccurrenceSampling(made.records(images, 4))
    drawn = np.array(made.count_boxes(images, take(sampler, 10_000))) / 50
    assert drawn == pytest.approx(sampler.change.after, rel=0.02)
    assert sampler.change.ratios[1] == pytest.approx(sampler.change.ratios[0] ** 0.5, rel=0.15)  # the target of 0.5
    whole = take(sampler, 900)
    assert all(take(sampler, 900 - start, start) == whole[start:] for start in (1, 199, 500))


@pytest.mark.parametrize("images", [[[]] * 5, [[0]], [[]], [[0, 1, 2]] * 3])
def test_nothing_to_balance(made, images):
    sampler = CoOccurrenceSampling(made.records(images))
    assert sampler.repeats == pytest.approx(np.ones(len(images))) and len(take(sampler, 7)) == 7


def test_processes_share_each_batch(made):
    sampler = CoOccurrenceSampling(made.records(made.random_images(), 4))
    whole = list(islice(BatchPlan(sampler, 4, 5), 50))
    parts = [list(islice(BatchPlan(sampler, 4, 5, rank=r, world_size=2), 50)) for r in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


@pytest.mark.slow
@pytest.mark.parametrize("num_classes, ridge", [(80, 0.1), (80, 1e-3), (1203, 0.1)])
def test_100000_images_are_a_matter_of_seconds(num_classes, ridge):
    """About 3 classes an image, Zipf's law; the limit leaves room for a machine that is busy with other things."""
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, num_classes + 1)
    labels = rng.choice(num_classes, (100_000, 4), p=p / p.sum())
    pairs, boxes = np.unique(np.arange(100_000)[:, None] * num_classes + labels, return_counts=True)
    held = ImageClasses(pairs // num_classes, pairs % num_classes, boxes, 100_000, num_classes)
    counts = held.expected_boxes(np.ones(100_000))
    target = counts**0.5 * counts.sum() / (counts**0.5).sum()
    began = time.perf_counter()
    after = held.expected_boxes(nearest_repeats(held, target, 0.1, 10, ridge))
    assert time.perf_counter() - began < 20
    assert after.max() / after.min() < 0.5 * counts.max() / counts.min()


@pytest.mark.parametrize("bad", [{"power": 1.1}, {"min_repeats": 2}, {"max_repeats": 0.5}, {"ridge": 0}])
def test_wrong_settings(made, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CoOccurrenceSampling(made.records([[0], [1]]), **bad)


def test_config():
    cfg = load_config("baselines/faster_rcnn_shapes", ["co_occurrence_sampling"], ["data.train.num_images=100"])
    loader = instantiate(cfg.dataloader.train)
    assert isinstance(loader.sampler, CoOccurrenceSampling)
    before, after = loader.sampler.change.ratios
    assert after < before / 3 and f"most to least frequent class {before:.3g} -> {after:.3g}" in loader.describe()
