"""The stream of images and its cut into batches: functions of the position, for any start, rank and grouping."""

from collections import Counter
from itertools import islice

import numpy as np
import pytest

from imbdet.data.samplers import WINDOW, BatchPlan, UniformSampler


def _take(iterable, number):
    return list(islice(iterable, number))


def _plan(sampler, **options):
    return BatchPlan(sampler, options.pop("batch_size", 4), **options)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_each_epoch_holds_every_image_once(size):
    stream = _take(UniformSampler(range(size), seed=5).indices(), 4 * size)
    for epoch in range(4):
        assert sorted(stream[epoch * size : (epoch + 1) * size]) == list(range(size))
    if size == 10:
        assert stream[:10] != stream[10:20]
        assert stream != _take(UniformSampler(range(size), seed=6).indices(), 4 * size)


def test_the_stream_is_a_function_of_the_position():
    sampler = UniformSampler(range(7), seed=1)
    whole = _take(sampler.indices(), 60)
    for start in (0, 1, 6, 7, 8, 20, 49):
        assert _take(sampler.indices(start), 60 - start) == whole[start:]


GROUPS = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 0])


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_a_plan_is_a_function_of_the_iteration(groups):
    sampler = UniformSampler(range(11), seed=2)
    whole = _take(_plan(sampler, groups=groups), 5 * WINDOW)
    for start in (1, WINDOW - 1, WINDOW, 3 * WINDOW + 5):
        assert _take(_plan(sampler, groups=groups, start=start), 5 * WINDOW - start) == whole[start:]


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_every_position_occurs_once_with_its_image(groups):
    """With groups, positions move within their window, and nothing is lost or doubled."""
    sampler = UniformSampler(range(11), seed=2)
    pairs = sum(_take(_plan(sampler, groups=groups), 2 * WINDOW), [])
    stream = _take(sampler.indices(), 8 * WINDOW)
    assert sorted(pairs) == list(enumerate(stream))
    assert max(position for position, _ in pairs[: 4 * WINDOW]) == 4 * WINDOW - 1
    assert (pairs == sorted(pairs)) == (groups is None)


def test_groups_are_mixed_in_one_batch_of_a_window_at_most():
    sampler = UniformSampler(range(11), seed=2)
    batches = _take(_plan(sampler, groups=GROUPS), 6 * WINDOW)
    for window in range(6):
        part = batches[window * WINDOW : (window + 1) * WINDOW]
        kinds = [len({GROUPS[index] for _, index in batch}) for batch in part]
        assert Counter(kinds)[2] <= 1
    # The batches of a window are shuffled: narrow ones do not all come first.
    first = [GROUPS[batch[0][1]] for batch in batches[:WINDOW]]
    assert first != sorted(first)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_ranks_share_each_batch(groups):
    sampler = UniformSampler(range(11), seed=2)
    whole = _take(_plan(sampler, batch_size=6, groups=groups), 40)
    parts = [_take(_plan(sampler, batch_size=6, groups=groups, rank=r, world_size=3), 40) for r in range(3)]
    for k, batch in enumerate(whole):
        assert sum((parts[r][k] for r in range(3)), []) == batch and all(len(parts[r][k]) == 2 for r in range(3))


def test_wrong_numbers_are_refused():
    sampler = UniformSampler(range(4))
    for options in ({"world_size": 3}, {"rank": 2, "world_size": 2}, {"start": -1}, {"batch_size": 0}):
        with pytest.raises(ValueError):
            _plan(sampler, **options)
