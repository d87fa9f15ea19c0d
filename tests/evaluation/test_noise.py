"""The noise of differences: against Student's t, by hand, by a naive loop, and its coverage by simulation."""

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage_of_intervals as coverage
from imbdet.evaluation import noise as module
from imbdet.evaluation.noise import (
    Noise,
    detectable,
    image_covariance_of,
    level_of,
    mean_half_widths,
    noise_of,
    residual_sd,
    seeds_needed,
)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_two_arms_are_the_paired_t_test(n):
    values = np.random.default_rng(n).normal(0, 1, (2, n)) + 10 * np.arange(n)
    found, reference = noise_of(values, [(1, 0)]), stats.ttest_rel(values[1], values[0])
    difference = (values[1] - values[0]).mean()
    low, high = reference.confidence_interval()
    assert found.half_width()[0] == pytest.approx((high - low) / 2, rel=0.1)
    assert found.p_values(np.array([difference]))[0] == pytest.approx(reference.pvalue, rel=0.05)


def test_an_effect_of_the_seed_changes_nothing():
    values = np.random.default_rng(0).normal(0, 1, (5, 3))
    pairs = [(arm, 0) for arm in range(1, 5)]
    found, shifted = noise_of(values, pairs), noise_of(values + [0.0, 50.0, -20.0], pairs)
    np.testing.assert_allclose(found.half_width(), shifted.half_width(), rtol=1e-6)


def test_many_arms_of_one_variance_come_near_the_normal_interval():
    """40 arms and 5 seeds know the common variance; 1.96 sqrt(2 / 5) = 1.24, somewhat more for the arm's own doubt."""
    values = np.random.default_rng(1).normal(0, 1, (41, 5))
    widths = noise_of(values, [(arm, 0) for arm in range(1, 41)]).half_width()
    assert 1.1 < np.median(widths) < 1.7


def test_a_noisy_arm_gets_a_wider_interval():
    values = np.random.default_rng(2).normal(0, 1, (8, 5))
    values[7] = [9, -8, 7, -9, 1]
    widths = noise_of(values, [(arm, 0) for arm in range(1, 8)]).half_width()
    assert widths[6] > 3 * np.median(widths[:6])


def test_noise_of_the_reference_is_shared_by_all_differences():
    values = np.random.default_rng(3).normal(0, 1, (7, 4))
    values[0] = [20, -18, 17, -19]
    errors = noise_of(values, [(arm, 0) for arm in range(1, 7)]).errors
    assert np.corrcoef(errors.T)[np.triu_indices(6, 1)].min() > 0.5


def test_simultaneous_intervals_and_p_values_agree():
    rng = np.random.default_rng(4)
    found = noise_of(rng.normal(0, 1, (6, 4)), [(arm, 0) for arm in range(1, 6)])
    together, alone = found.simultaneous(), found.half_width()
    assert (together > alone).all()
    just = np.array([1.02, 0.98, 1.05, 0.95, 1.5]) * together
    assert ((found.family_p_values(just) <= 0.05) == (just > together)).all()
    just = np.array([1.02, 0.98, 1.05, 0.95, 1.5]) * alone
    assert ((found.p_values(just) <= 0.05) == (just > alone)).all()


def test_a_simultaneous_interval_is_never_narrower_than_that_of_one_difference():
    """The noise of the baseline alone makes all errors one error; then there is nothing to correct for."""
    values = np.random.default_rng(10).normal(0, 1e-3, (13, 2))
    values[0] = [30, -30]
    found = noise_of(values, [(arm, 0) for arm in range(1, 13)])
    np.testing.assert_allclose(found.simultaneous(), found.half_width(), rtol=0.05)
    assert found.family_level > found.levels.max() and (found.simultaneous() >= found.half_width()).all()
    assert (found.family_p_values(found.half_width() * 0.99) > 0.05).all()


def test_levels_between_the_numbers_of_arms():
    """Three seeds: 0.062 for 4 arms and 0.070 for 12, and for 7 arms 0.062 + 0.008 log(7 / 4) / log 3."""
    assert level_of(module.LEVELS, 3, 7) == pytest.approx(0.062 + 0.008 * np.log(7 / 4) / np.log(3))
    assert level_of(module.LEVELS, 9, 100) == level_of(module.LEVELS, 6, 40) and level_of(module.LEVELS, 2, 1) == 0.087


def test_intervals_of_means_over_seeds():
    """Alone by Student, two arms by their difference, many by all; a seed that shifts all arms changes nothing."""
    values = np.random.default_rng(11).normal(0, 1, (3, 41, 5))
    values[1, 1:] = values[2, 2:] = np.nan
    found = mean_half_widths(values)
    low, high = stats.ttest_1samp(values[1, 0], 0).confidence_interval()
    assert found[1, 0] == pytest.approx((high - low) / 2) and np.isnan(found[1, 1:]).all()
    low, high = stats.ttest_rel(values[2, 0], values[2, 1]).confidence_interval()
    np.testing.assert_allclose(found[2, :2], (high - low) / 2 / np.sqrt(2))
    assert 1.6 < np.median(found[0]) / np.sqrt(1 / 5) < 2.4  # 1.96 of a known variance
    shifted = mean_half_widths(values[:1] + [0.0, 50.0, -20.0, 3.0, 9.0])
    np.testing.assert_allclose(mean_half_widths(values[:1]), shifted, rtol=1e-6)
    assert np.isnan(mean_half_widths(values[:1, :, :1])).all()


def test_missing_runs_are_left_out():
    values = np.random.default_rng(5).normal(0, 1, (5, 4))
    values[2, 3] = values[3, :3] = np.nan
    found = noise_of(values, [(1, 0), (2, 0), (4, 0)])
    assert np.isfinite(found.half_width()).all() and found.variances.shape[1] == 3
    with pytest.raises(ValueError, match="shares 1 seeds"):
        noise_of(values, [(1, 0), (3, 0)])


def test_image_part_is_added():
    values = np.random.default_rng(6).normal(0, 1e-3, (4, 5))
    pairs = [(1, 0), (2, 0), (3, 0)]
    covariance = np.array([[4, 2, 0], [2, 4, 0], [0, 0, 1.0]])
    found = noise_of(values, pairs, covariance, images=5000)
    np.testing.assert_allclose(found.half_width(), 1.96 * np.sqrt([4, 4, 1]), rtol=0.02)
    assert np.corrcoef(found.errors.T)[0, 1] == pytest.approx(0.5, abs=0.05)


def test_image_covariance_by_a_naive_loop():
    rng = np.random.default_rng(7)
    draws = rng.normal(0, 1, (3, 4, 60)) + 2 * rng.normal(0, 1, (3, 1, 60))
    draws[1, 2] = np.nan
    expected = np.zeros((3, 3))
    for p in range(3):
        for q in range(3):
            between = [
                np.cov(draws[p, s], draws[q, t])[0, 1]
                for s in range(4)
                for t in range(4)
                if s != t and np.isfinite(draws[p, s, 0]) and np.isfinite(draws[q, t, 0])
            ]
            expected[p, q] = np.mean(between) * 11 / 10
    np.testing.assert_allclose(image_covariance_of(draws, 11), expected, rtol=1e-9)


def test_residual_sd_by_hand():
    """[[0, 2], [0, 4]] about rows (1, 2), columns (0, 3) and mean 1.5: residuals +-.5, 4 x .25 / 1 = 1."""
    assert residual_sd(np.array([[0.0, 2.0], [0.0, 4.0], [np.nan, 1.0]])) == pytest.approx(1.0)
    assert residual_sd(np.array([[0.0, 2.0]])) is None and residual_sd(np.full((3, 2), np.nan)) is None


def test_detectable_difference():
    """One arm: the power of a paired t test, by scipy's noncentral t. Twelve arms: a third of what t and Holm need."""
    n = 3
    found = detectable(n, 1)
    limit, shift = stats.t.isf(0.025, n - 1), found / np.sqrt(2 / n)
    assert stats.nct.sf(limit, n - 1, shift) == pytest.approx(0.8, abs=0.02)
    assert detectable(3, 12) <= coverage.detectable_by_t_and_holm(3, 12) / 3
    assert detectable(3, 12, sd=2) == pytest.approx(2 * detectable(3, 12))
    assert detectable(3, 12, image_sd=1) > detectable(3, 12)
    assert seeds_needed(detectable(4, 3) + 1e-9, 3, 1.0) == 4 and seeds_needed(1e-3, 3, 1.0, most=4) is None


def test_noise_without_any_variance():
    found = noise_of(np.ones((4, 3)), [(arm, 0) for arm in range(1, 4)])
    assert (found.half_width() < 1e-9).all() and (found.p_values(np.ones(3)) < 1e-6).all()


def test_chains_agree_with_one_long_chain(monkeypatch):
    values = np.random.default_rng(8).normal(0, 1, (5, 3))
    pairs = [(arm, 0) for arm in range(1, 5)]
    many = noise_of(values, pairs).scale
    monkeypatch.setattr(module, "CHAINS", 1)
    monkeypatch.setattr(module, "KEPT", 6000)
    np.testing.assert_allclose(noise_of(values, pairs, seed=1).scale, many, rtol=0.1)


@pytest.mark.parametrize(("name", "lowest"), [("equal", 94), ("a third 9", 87)])
def test_coverage(name, lowest):
    """Six arms and three seeds; 93 to 99 % on average with 150 data sets, and what the noisiest arms have."""
    found = coverage.simulate(coverage.scenarios(6)[name], seeds=3, data_sets=150, kept=100)
    assert 0.93 < found["coverage"] < 0.99 and found["noisiest"] > lowest / 100 and found["false"] < 0.08


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 4, 5])
@pytest.mark.parametrize("arms", [4, 12])
def test_coverage_of_every_scenario(seeds, arms):
    for name, variances in coverage.scenarios(arms).items():
        found = coverage.simulate(variances, seeds, data_sets=1000)
        assert 0.925 < found["coverage"] < 0.985 and found["noisiest"] > 0.9, (name, found)
        assert found["false"] < 0.065, (name, found)


def test_two_equal_pairs_have_one_error():
    found = noise_of(np.random.default_rng(9).normal(0, 1, (4, 3)), [(1, 0), (1, 0)])
    assert isinstance(found, Noise)
    np.testing.assert_array_equal(found.errors[:, 0], found.errors[:, 1])
