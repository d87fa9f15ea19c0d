"""E-IRFS: the uniform stream when neutral, by hand, by a loop; its published defaults change nothing."""

import math
from itertools import islice

import numpy as np
import pytest

from imbdet.config import instantiate, load_config
from imbdet.data.samplers import UniformSampler
from imbdet.remedies.class_fg_fg.e_irfs import EIRFS


def take(sampler, number, start=0):
    return list(islice(sampler.indices(start), number))


def test_neutral_is_the_uniform_stream_itself(made):
    records = made.records(made.random_images(), 4)
    for neutral in ({"alpha": 0}, {"threshold": 0}):
        assert take(EIRFS(records, seed=3, **neutral), 200) == take(UniformSampler(records, seed=3), 200)


def test_by_hand(made):
    """circle in 2 of 4 images with 8 of 10 boxes: f = sqrt(0.5 * 0.8) = 0.632; star: sqrt(0.5 * 0.2) = 0.316.
    exp(2 sqrt(0.1 / f)) = 2.215 and 3.080.
    """
    sampler = EIRFS(made.records([[0] * 4, [0] * 4, [1], [1], []], 2), threshold=0.1)
    assert sampler.repeats.tolist() == pytest.approx([2.2152, 2.2152, 3.0801, 3.0801, 1], abs=1e-3)


def test_a_naive_loop(made):
    images = made.random_images()
    boxes = made.count_boxes(images, range(len(images)))
    held = [sum(c in image for image in images) for c in range(4)]
    f = [(held[c] / sum(held) * boxes[c] / sum(boxes)) ** 0.5 for c in range(4)]
    want = [max([1.0, *(math.exp(1.5 * math.sqrt(0.02 / f[c])) for c in image)]) for image in images]
    sampler = EIRFS(made.records(images, 4), alpha=1.5, threshold=0.02, max_repeats=None)
    assert sampler.repeats.tolist() == pytest.approx(want, abs=1e-6)
    whole = take(sampler, 500)
    assert all(take(sampler, 500 - start, start) == whole[start:] for start in (1, 70, 499))


def test_trap_the_published_defaults_change_nothing(made):
    """Classes of 1 % and 25 % come 1.22 and 1.04 times; 2 % of the boxes stay 2 % to within a half of a percent."""
    images = [[0]] * 74 + [[1]] * 25 + [[2]]
    sampler = EIRFS(made.records(images))
    assert sampler.repeats[[99, 80]].tolist() == pytest.approx([math.exp(0.2), math.exp(0.04)], abs=1e-3)
    share = sampler.change.after / sampler.change.after.sum()
    assert np.abs(share - [0.74, 0.25, 0.01]).max() < 0.005


def test_mechanism_a_larger_threshold_makes_the_rare_class_more_frequent(made):
    images = [[0]] * 80 + [[1]] * 16 + [[2]] * 4
    sampler = EIRFS(made.records(images), threshold=0.02)
    drawn = np.array(made.count_boxes(images, take(sampler, 10_000), 3)) / 100
    assert drawn == pytest.approx(sampler.change.after, rel=0.02)
    assert sampler.change.ratios[1] < 0.5 * sampler.change.ratios[0]


def test_no_objects_limits_and_config(made):
    for images in ([[]] * 5, [[0]], [[]]):
        assert len(take(EIRFS(made.records(images)), 7)) == 7
    rare = made.records([[0]] * 999 + [[1]], 2)
    assert EIRFS(rare, threshold=1.0).repeats.max() == 10
    cfg = load_config("baselines/retinanet_shapes", ["e_irfs"], ["data.train.num_images=40"])
    assert "EIRFS(alpha 2, threshold 0.0001" in instantiate(cfg.dataloader.train).describe()
    for bad in ({"alpha": -1}, {"threshold": -1}, {"max_repeats": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            EIRFS(rare, **bad)
