"""Instance-aware repeat factors: the uniform stream when neutral, by hand, by a loop, and what boxes change."""

from itertools import islice

import numpy as np
import pytest

from imbdet.config import instantiate, load_config
from imbdet.data.samplers import UniformSampler
from imbdet.remedies.class_fg_fg.instance_aware_repeat_factor import InstanceAwareRepeatFactor
from imbdet.remedies.class_fg_fg.repeat_factor_sampling import RepeatFactorSampling


def take(sampler, number, start=0):
    return list(islice(sampler.indices(start), number))


def test_neutral_is_the_uniform_stream_itself(made):
    records = made.records(made.random_images(), 4)
    neutral = InstanceAwareRepeatFactor(records, seed=3, threshold=0)
    assert take(neutral, 200) == take(UniformSampler(records, seed=3), 200)


def test_by_hand(made):
    """4 images, 10 boxes. circle: in 2 images, 8 boxes, f = sqrt(0.5 * 0.8) = 0.632. star: in 2 images, 2 boxes,
    f = sqrt(0.5 * 0.2) = 0.316. t = 0.9: r = sqrt(0.9 / 0.632) = 1.193 and sqrt(0.9 / 0.316) = 1.687.
    """
    sampler = InstanceAwareRepeatFactor(made.records([[0] * 4, [0] * 4, [1], [1]], 2), threshold=0.9)
    assert sampler.repeats.tolist() == pytest.approx([1.193, 1.193, 1.687, 1.687], abs=1e-3)


@pytest.mark.parametrize("threshold", [None, 0.05, 0.4])
def test_a_naive_loop(made, threshold):
    images = made.random_images()
    boxes = made.count_boxes(images, range(len(images)))
    shares = [sum(c in image for image in images) / len(images) for c in range(4)]
    f = [(shares[c] * boxes[c] / sum(boxes)) ** 0.5 for c in range(4)]
    t = sorted(f)[1] / 2 + sorted(f)[2] / 2 if threshold is None else threshold
    want = [max([1.0, *((t / f[c]) ** 0.5 for c in image)]) for image in images]
    sampler = InstanceAwareRepeatFactor(made.records(images, 4), threshold=threshold, max_repeats=None)
    assert sampler.repeats.tolist() == pytest.approx(want, abs=1e-6)


def test_positions_are_exact(made):
    sampler = InstanceAwareRepeatFactor(made.records(made.random_images(), 4), seed=1)
    whole = take(sampler, 1000)
    assert all(take(sampler, 1000 - start, start) == whole[start:] for start in (1, 70, 500, 999))


def test_mechanism_of_two_classes_in_equally_many_images_the_one_with_fewer_boxes_gains(made):
    """star and ring are in 10 images each, star with 5 boxes an image, ring with one: repeat-factor sampling treats
    them alike, this does not. 10,000 drawn images hold what `change` says.
    """
    images = [[0, 0]] * 80 + [[1] * 5] * 10 + [[2]] * 10
    records = made.records(images)
    plain, aware = RepeatFactorSampling(records, threshold=0.8), InstanceAwareRepeatFactor(records, threshold=0.8)
    assert plain.repeats[80] == plain.repeats[95] and aware.repeats[95] > 1.4 * aware.repeats[80]
    drawn = np.array(made.count_boxes(images, take(aware, 10_000), 3)) / 100
    assert drawn == pytest.approx(aware.change.after, rel=0.02)
    assert aware.change.ratios[1] < 0.3 * aware.change.ratios[0] and aware.change.ratios[1] < plain.change.ratios[1]


@pytest.mark.parametrize("images", [[[]] * 5, [[0]], [[]]])
def test_without_objects_or_with_one_image(made, images):
    sampler = InstanceAwareRepeatFactor(made.records(images))
    assert (sampler.repeats == 1).all() and len(take(sampler, 7)) == 7


def test_limits_and_config(made):
    images = [[0]] * 99 + [[1]]
    assert InstanceAwareRepeatFactor(made.records(images, 2), threshold=1, max_repeats=2).repeats.max() == 2
    cfg = load_config("baselines/retinanet_shapes", ["instance_aware_repeat_factor"], ["data.train.num_images=40"])
    loader = instantiate(cfg.dataloader.train)
    assert isinstance(loader.sampler, InstanceAwareRepeatFactor)
    assert "InstanceAwareRepeatFactor(threshold" in loader.describe()
    for settings in ({"threshold": 1.5}, {"max_repeats": 0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            InstanceAwareRepeatFactor(made.records(images, 2), **settings)
