"""What is reachable against brute force, and what is chosen."""

from itertools import product

import numpy as np
import pytest
from scipy.sparse import csr_array

from imbdet.balance.bound import dual_bound
from imbdet.balance.options import Options
from imbdet.balance.resample import reachable
from imbdet.balance.target import Limits, choose, least_spread, read_shares, rounded
from imbdet.remedies.class_fg_fg._class_counts import ImageClasses


def held(matrix):
    """matrix: (N, K) boxes."""
    matrix = np.array(matrix)
    images, labels = np.nonzero(matrix)
    return ImageClasses(images, labels, matrix[images, labels], *matrix.shape)


def brute(matrix, shares, low, high, fewest):
    """The least spread over all whole repeats."""
    best = np.inf
    for counts in product(range(low, high + 1), repeat=len(matrix)):
        boxes = np.array(counts) @ np.array(matrix) / shares
        if (np.array(counts) > 0).sum() >= fewest and boxes.min() > 0:
            best = min(best, boxes.max() / boxes.min())
    return best


@pytest.mark.parametrize("low, high, fewest", [(0, 1, 3), (0, 2, 3), (1, 2, 5), (0, 3, 2), (1, 1, 5)])
def test_no_choice_is_below_the_bound(low, high, fewest):
    rng = np.random.default_rng(low * 10 + high)
    for _ in range(4):
        matrix = rng.integers(0, 4, (5, 3)) + np.eye(5, 3, dtype=int)
        shares = np.array([0.5, 0.3, 0.2]) if fewest == 3 else np.full(3, 1 / 3)
        limits = Limits(low, high, fewest)
        bound, best = least_spread(held(matrix), shares, limits)[0], brute(matrix, shares, low, high, fewest)
        assert bound <= best * (1 + 1e-9)
        chosen = choose(held(matrix), shares, limits, np.random.default_rng(0))
        assert best <= chosen.spread * (1 + 1e-9) and (chosen.counts > 0).sum() >= fewest
        assert chosen.counts.min() >= low and chosen.counts.max() <= high
        if low == high == 1:
            assert bound == pytest.approx(best) and chosen.spread == pytest.approx(best)


def test_the_bound_is_reached_where_whole_numbers_do():
    """Three pictures of (4, 0), one of (0, 3). All three of the first and one of the second: 12 / 3 = 4; two pictures
    of which one is the second: 4 / 3; up to 4 times: three of one and four of the other are 12 and 12."""
    matrix, half = [[4, 0], [4, 0], [4, 0], [0, 3]], np.array([0.5, 0.5])
    for low, high, fewest, ratio in ((1, 1, 4, 4.0), (0, 1, 2, 4 / 3), (1, 4, 4, 1.0), (1, 2, 4, 2.0)):
        assert brute(matrix, half, low, high, fewest) == pytest.approx(ratio)
        assert least_spread(held(matrix), half, Limits(low, high, fewest))[0] == pytest.approx(ratio)
        assert choose(held(matrix), half, Limits(low, high, fewest), np.random.default_rng(0)).spread == pytest.approx(
            ratio
        )


def test_shares():
    boxes = np.array([100, 25, 0, 4])
    names = ("a", "b", "none", "c")
    assert read_shares("equal", names, boxes) == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    assert read_shares("sqrt", names, boxes) == pytest.approx(np.array([10, 5, 0, 2]) / 17)
    five = read_shares("ratio:5", names, boxes)
    assert five[0] / five[3] == pytest.approx(5) and five[1] / five[3] == pytest.approx(
        5 ** (np.log(25 / 4) / np.log(25))
    )
    assert read_shares("ratio:30", names, boxes) == pytest.approx(boxes / 129)
    assert read_shares({"c": 0.5}, names, boxes) == pytest.approx([0.4, 0.1, 0, 0.5])
    wrong = {
        "equl": "did you mean 'equal'",
        "ratio:0.5": "1 or more",
        "power:2": "in 0 .* 1",
        "ratio": "ratio:NUMBER",
        "ratio:x": "'x' is not a number",
    }
    for target, words in wrong.items():
        with pytest.raises(ValueError, match=words):
            read_shares(target, names, boxes)
    for target, words in (({"d": 0.1}, "no class 'd'"), ({"none": 0.1}, "no box"), ({"a": 1.5}, "0..1")):
        with pytest.raises(ValueError, match=words):
            read_shares(target, names, boxes)
    with pytest.raises(ValueError, match="leave a share"):
        read_shares({"a": 0.6, "b": 0.6}, names, boxes)
    with pytest.raises(ValueError, match="no box"):
        read_shares("equal", names, boxes * 0)


def test_rounding_keeps_the_sum_and_the_mean():
    real, rng = np.array([0.25, 1.5, 2.0, 0.75, 0.5]), np.random.default_rng(0)
    draws = np.array([rounded(real, rng) for _ in range(2000)])
    assert set(draws.sum(axis=1)) == {5} and (np.abs(draws - real) < 1).all()
    assert draws.mean(axis=0) == pytest.approx(real, abs=0.05)


def test_what_is_reachable_is_said(tmp_path):
    from tests.diagnose.helpers import box, make_records

    records = make_records([[box(0)] * 4, [box(0)] * 4, [box(0)] * 4, [box(1)] * 3], classes=("a", "b"))
    found = reachable(records, np.array([0.5, 0.5]), 4, 0.5)
    assert (found.now, found.without, found.repeats, found.all_kept) == pytest.approx((4, 4 / 3, 1, 1))
    assert "is 4 and, with at least 2 of the 4 pictures left, cannot fall below 1.33 without" in found.says()
    assert Options.of(target="equal").given() == {"target": "equal"}


def test_the_bound_is_nearly_reached_in_a_larger_set():
    """600 pictures, half of which must stay: what is chosen is at most 15 % above the bound."""
    rng = np.random.default_rng(0)
    matrix = rng.poisson(np.geomspace(1, 0.02, 8), (600, 8))
    shares, limits = np.full(8, 1 / 8), Limits(0, 4, 300)
    chosen = choose(held(matrix), shares, limits, rng)
    boxes = chosen.counts @ matrix
    assert chosen.spread == pytest.approx(boxes.max() / boxes.min()) and (chosen.counts > 0).sum() >= 300
    assert chosen.bound <= chosen.spread <= 1.15 * chosen.bound


def by_picture(matrix, shares):
    """(K, N) boxes over shares, as `dual_bound` takes them."""
    return csr_array((np.array(matrix) / np.array(matrix).sum() / shares).T)


@pytest.mark.parametrize("low, high", [(0, 1), (0, 4), (1, 4)])
def test_the_bound_of_large_sets_is_below_that_of_the_program_and_near_it(low, high, monkeypatch):
    rng = np.random.default_rng(high + low)
    matrix = rng.poisson(np.geomspace(1, 0.02, 8), (600, 8))
    for shares in (np.full(8, 1 / 8), np.geomspace(4, 1, 8) / np.geomspace(4, 1, 8).sum()):
        limits = Limits(low, high, 300)
        exact = least_spread(held(matrix), shares, limits)[0]
        bound, real = dual_bound(by_picture(matrix, shares), limits)
        assert 0.98 * exact <= bound <= exact * (1 + 1e-9)
        boxes = real @ matrix / shares
        assert boxes.max() / boxes.min() <= 1.15 * exact and real.min() >= low and real.max() <= high
        with monkeypatch.context() as patch:
            patch.setattr("imbdet.balance.target.EXACT", 0)
            assert least_spread(held(matrix), shares, limits)[0] == pytest.approx(bound)


def test_the_bound_of_large_sets_by_hand():
    """Pictures of (4, 0) three times and (0, 3): see above; all weights give at most the ratio that is reached."""
    matrix, half = [[4, 0], [4, 0], [4, 0], [0, 3]], np.array([0.5, 0.5])
    for low, high, fewest, ratio in ((1, 1, 4, 4.0), (0, 1, 2, 4 / 3), (1, 2, 4, 2.0)):
        bound, _ = dual_bound(by_picture(matrix, half), Limits(low, high, fewest))
        assert 0.97 * ratio <= bound <= ratio * (1 + 1e-9)
