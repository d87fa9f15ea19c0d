"""How large is the noise of a difference between two arms, judged by all arms and seeds of a comparison together?

    noise = noise_of(values, pairs)                  # values (A, S), pairs [(arm, reference), ...]
    noise.half_width(), noise.simultaneous(), noise.p_values(differences)

**Model.** The value of arm a with seed s is y_as = m_a + t_s + e_as with e_as ~ N(0, v_a). The seed's part t_s is
common to all arms, so it cancels in every difference. With n seeds the difference of arm a and reference r has the
variance

    V = (v_a + v_r) / n + image part

The image part is what the choice of test images does to all seeds alike. The seeds do not show it; the bootstrap over
images measures it (`image_covariance_of`).

**Few seeds.** Alone, an arm of three seeds has 2 degrees of freedom, and the 97.5 % quantile of Student's t is 4.3. But
a comparison has many arms, and most have about the same variance. So the variances get a common prior, as in Smyth,
"Linear models and empirical Bayes methods", SAGMB 2004: v_a ~ d u / chi2(d), with u unknown and a flat prior of log u.
A Gibbs sampler draws all v from the posterior (m, t, v, u in turn; every step has a closed form), and an interval is a
quantile over the draws, so that it contains the uncertainty of each v.

- d = 1.2 for an arm (`ARM_DF`). A larger d, or d estimated from the data as Smyth does, misses noisy arms: with 3 seeds
  and a variance nine times that of the others, d = 4 covers about 87 %.
- d = 0.05 for an arm that others are compared with (`REFERENCE_DF`). Its noise is in every difference, so it borrows
  next to nothing.
- With two arms only the sum of the variances can be known. Its posterior is that of the paired t test, which is exact.

**Levels.** The heavy tails of this prior are for arms that may be noisy. Where no arm is, they make intervals too wide
with few seeds, and the more so for the largest error of many arms. So the tail of the posterior at which an interval
ends is calibrated by simulation, by seeds and arms: `LEVELS` for one difference, as large as an average coverage of
94 % allows if the baseline is nine times noisier than the arms; `FAMILY_LEVELS` for all differences of a family at
once, with 4.5 % false findings in the worst of five scenarios. A simultaneous interval is never narrower than that of
one difference, so that a baseline that is noisier still cannot undo it. docs/comparing.md has the measured table
(`benchmarks/coverage_of_intervals.py`), and what cannot be had at once.

Letters: A arms, S seeds, P pairs, D draws, C chains.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy import special

ARM_DF, REFERENCE_DF = 1.2, 0.05  #: weight of the common prior of the variances, in degrees of freedom
#: seeds -> posterior tail at which an interval covers 95 %, for `ARMS` arms besides the baseline; the last for more
ARMS = (2, 4, 12, 40)
LEVELS = {
    2: (0.087, 0.092, 0.094, 0.095),
    3: (0.062, 0.062, 0.070, 0.070),
    4: (0.055, 0.055, 0.060, 0.060),
    5: (0.052, 0.055, 0.060, 0.062),
    6: (0.050, 0.050, 0.050, 0.050),
}
#: the same for all of so many differences at once
FAMILY_LEVELS = {
    2: (0.072, 0.092, 0.150, 0.220),
    3: (0.062, 0.060, 0.095, 0.130),
    4: (0.055, 0.051, 0.078, 0.084),
    5: (0.043, 0.047, 0.068, 0.072),
    6: (0.043, 0.045, 0.054, 0.054),
}
CHAINS, BURN_IN, KEPT = 64, 40, 64  # 4096 draws
_TINY = 1e-24  # of a variance, so that arms without any noise can be judged


@dataclass(frozen=True)
class Noise:
    """Posterior draws of the error of P differences.

    errors: (D, P) draws of estimate minus truth, correlated over the pairs through references and images.
    variances: (D, P) the variance of each error given the draw.
    levels: (P,) tail of the posterior at which an interval covers 95 %.
    seeds: (P,) how many each difference has. seed_share: (P,) of its variance, what the seeds make; the rest is the
        images', whose variance is known and needs no calibration.
    """

    errors: np.ndarray
    variances: np.ndarray
    levels: np.ndarray
    seeds: np.ndarray
    seed_share: np.ndarray

    def of(self, pairs: Sequence[int]) -> Noise:
        """Return the noise of a family of these differences only."""
        arrays = (self.errors, self.variances, self.levels, self.seeds, self.seed_share)
        return Noise(*(one[..., pairs] for one in arrays))

    @cached_property
    def scale(self) -> np.ndarray:
        """(P,) typical size of each error."""
        return np.sqrt(np.median(self.variances, axis=0))

    @cached_property
    def _reach(self) -> np.ndarray:
        """(P,) by which errors are compared with each other: the upper end of what a variance may be, so that no arm
        of unknown variance alone decides which error is the largest.
        """
        return np.sqrt(np.quantile(self.variances, 0.9, axis=0))

    @cached_property
    def _largest(self) -> np.ndarray:
        """(D,) largest error of each draw in units of `_reach`."""
        return (np.abs(self.errors) / self._reach).max(axis=1)

    @property
    def family_level(self) -> float:
        """Tail of the largest error at which all intervals cover with 95 %."""
        levels = np.array([level_of(FAMILY_LEVELS, int(n), len(self.seeds)) for n in self.seeds])
        return float((0.05 + (levels - 0.05) * self.seed_share).min())

    def half_width(self) -> np.ndarray:
        """Return (P,) half of the 95 % interval of each difference taken alone."""
        return np.array([self._quantile(pair, level) for pair, level in enumerate(self.levels)])

    def simultaneous(self) -> np.ndarray:
        """Return (P,) half-widths that hold for all differences at once with 95 % (Dunnett's problem)."""
        return np.maximum(np.quantile(self._largest, 1 - self.family_level) * self._reach, self.half_width())

    def p_values(self, differences: np.ndarray) -> np.ndarray:
        """Return (P,) two-sided p values of the differences taken alone; 0.05 where the 95 % interval touches 0."""
        tails = 2 * special.ndtr(-np.abs(differences) / np.sqrt(self.variances)).mean(axis=0)
        return _calibrated(tails, self.levels)

    def family_p_values(self, differences: np.ndarray) -> np.ndarray:
        """Return (P,) p values corrected for all differences; 0.05 where a simultaneous interval touches 0."""
        largest = np.sort(self._largest)
        at_least = len(largest) - np.searchsorted(largest, np.abs(differences) / self._reach, side="left")
        tails = (at_least + 1) / (len(largest) + 1)
        return np.maximum(_calibrated(tails, self.family_level), self.p_values(differences))

    def _quantile(self, pair: int, level: float) -> float:
        """Where the two-sided tail of one error is `level`, by bisection."""
        deviations = np.sqrt(self.variances[:, pair])
        low, high = 0.0, 40 * deviations.max()
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if 2 * special.ndtr(-middle / deviations).mean() > level else (low, middle)
        return high


def level_of(levels: dict[int, tuple[float, ...]], seeds: int, arms: int) -> float:
    """Return an entry of `LEVELS` or `FAMILY_LEVELS`, between the numbers of arms in proportion to their logarithm."""
    return float(np.interp(np.log(arms), np.log(ARMS), levels[min(seeds, max(levels))]))


def _calibrated(tails: np.ndarray, level: np.ndarray | float) -> np.ndarray:
    """Tails of the posterior -> p values: 0.05 at `level`, 0 and 1 as they are."""
    return np.minimum(tails, 1) ** (np.log(0.05) / np.log(level))


def noise_of(
    values: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    image_covariance: np.ndarray | None = None,
    images: int = 2,
    seed: int = 0,
) -> Noise:
    """Draw the errors of the differences between arms.

    Args:
        values: (A, S) a metric by arm and seed; NaN where a run is missing. An arm needs two seeds to take part.
        pairs: [(arm, reference)], which differences; each over the seeds that both arms have, at least two.
        image_covariance: (P, P) of the differences, by the choice of test images (`image_covariance_of`); None for
            zeros.
        images: m, how many images it was measured on. seed: of the draws.

    Raises:
        ValueError: a pair whose arms share less than two seeds.
    """
    values = np.asarray(values, dtype=np.float64)
    there = np.isfinite(values)
    common = np.array([there[arm] & there[reference] for arm, reference in pairs])
    seeds = common.sum(axis=1)
    if (seeds < 2).any():
        raise ValueError(f"pair {pairs[int(seeds.argmin())]} shares {seeds.min()} seeds; a variance takes two")
    rng = np.random.default_rng(seed)
    arms = np.flatnonzero(there.sum(axis=1) >= 2)
    levels = np.array([level_of(LEVELS, int(n), max(len(arms) - 1, 1)) for n in seeds])
    if len(arms) == 2:
        levels[:] = 0.05
        (arm, reference), n = pairs[0], int(seeds[0])
        spread = (values[arm] - values[reference])[common[0]].var(ddof=1) + _TINY
        draws = CHAINS * KEPT
        half = spread * (n - 1) / rng.chisquare(n - 1, draws) / 2
        drawn = np.zeros((draws, len(values)))
        drawn[:, arms] = half[:, None]
    else:
        free = np.full(len(values), ARM_DF)
        free[[reference for _, reference in pairs]] = REFERENCE_DF
        kept = draw_variances(np.repeat(values[arms][None], CHAINS, 0), free[arms], rng, BURN_IN, KEPT)
        drawn = np.zeros((CHAINS * KEPT, len(values)))
        drawn[:, arms] = kept.reshape(-1, len(arms))
    errors, variances = draw_errors(drawn, pairs, common, rng)
    by_seeds = np.median(variances, axis=0)
    if image_covariance is not None:
        covariance = np.asarray(image_covariance, dtype=np.float64)
        factor = max(images - 1, 1) / rng.chisquare(max(images - 1, 1), len(errors))
        errors = errors + np.sqrt(factor)[:, None] * (rng.standard_normal(errors.shape) @ _root(covariance))
        variances = variances + factor[:, None] * np.diag(covariance)
    share = by_seeds / np.median(variances, axis=0)
    return Noise(errors, variances, 0.05 + (levels - 0.05) * share, seeds, share)


def image_covariance_of(draws: np.ndarray, images: int) -> np.ndarray:
    """Return (P, P) covariance of the mean differences by the choice of images, as far as all seeds share it.

    Args:
        draws: (P, S, B) each difference with each seed on B resamples of the same m images; NaN for a seed that a pair
            lacks.
        images: m.

    The covariance of the bootstrap between two different seeds holds what all seeds share, and nothing that the
    variance over seeds has counted already.
    """
    draws = np.asarray(draws, dtype=np.float64)
    usable = np.isfinite(np.where(np.isnan(draws).all(axis=2, keepdims=True), 0, draws)).all(axis=(0, 1))
    draws = draws[:, :, usable]
    centered = np.nan_to_num(draws - draws.mean(axis=2, keepdims=True))
    there = ~np.isnan(draws).all(axis=2)  # (P, S)
    total = centered.sum(axis=1)
    same = np.einsum("psb,qsb->pq", centered, centered)
    count = np.outer(there.sum(axis=1), there.sum(axis=1)) - there.astype(float) @ there.T.astype(float)
    between = np.divide(total @ total.T - same, count, out=np.zeros_like(same), where=count > 0)
    between /= max(draws.shape[2] - 1, 1)
    # Resampling m images has the variance of a sample with divisor m, not m - 1.
    root = _root(between * images / max(images - 1, 1))
    return root.T @ root


def detectable(seeds: int, arms: int, sd: float = 1.0, image_sd: float = 0.0, power: float = 0.8) -> float:
    """Return the smallest true difference that a comparison finds with this power, in the unit of `sd`.

    Args:
        seeds, arms: of the planned grid; arms without the baseline. sd: of one run about its arm and seed (the residual
            standard deviation). image_sd: standard error of a difference by the choice of test images.
    """
    seed_part = _detectable_unit(int(seeds), int(arms), float(power)) * sd
    if not image_sd:
        return seed_part
    tail = -special.ndtri(0.025 / max(arms, 1)) - special.ndtri(1 - power)
    return float(np.hypot(seed_part, tail * image_sd))


def seeds_needed(difference: float, arms: int, sd: float, image_sd: float = 0.0, most: int = 100) -> int | None:
    """Return the fewest seeds that find a difference of this size with a power of 80 %; None if `most` are too few."""
    counts = [n for n in (*range(2, 11), *range(12, 31, 3), 40, 50, 70, 100) if n <= most]
    place = bisect.bisect_left(counts, True, key=lambda n: detectable(n, arms, sd, image_sd) <= abs(difference))
    return counts[place] if place < len(counts) else None


def residual_sd(values: np.ndarray) -> float | None:
    """Return the pooled standard deviation of (A, S) values about their arm and seed.

    None without a degree of freedom. NaN for a missing run; arms and seeds that are not complete are left out.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values).sum(axis=1) >= 2]
    values = values[:, np.isfinite(values).all(axis=0)] if len(values) else values
    arms, seeds = values.shape
    if arms < 2 or seeds < 2:
        return None
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0, keepdims=True) + values.mean()
    return float(np.sqrt((rest**2).sum() / ((arms - 1) * (seeds - 1))))


def mean_half_widths(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return (T, A) half of the 95 % interval of each arm's mean over seeds, beside what a seed does to all arms.

    Args:
        values: (T, A, S) T metrics, or one at T times, by arm and seed; NaN where a run is missing. seed: of the draws.

    NaN for an arm of less than two runs. An arm alone has Student's interval; of two arms, which tell one variance
    together, each has half of it.
    """
    values = np.asarray(values, dtype=np.float64)
    result, rng = np.full(values.shape[:2], np.nan), np.random.default_rng(seed)
    patterns, which = np.unique(np.isfinite(values).reshape(len(values), -1), axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns.reshape(-1, *values.shape[1:])):
        rows, arms = np.flatnonzero(which.reshape(-1) == number), np.flatnonzero(pattern.sum(axis=1) >= 2)
        some, runs = values[np.ix_(rows, arms)], pattern[arms].sum(axis=1)
        if len(arms) > 2:
            drawn = draw_variances(some, np.full(len(arms), ARM_DF), rng, BURN_IN, 100)
            levels = [level_of(LEVELS, int(n), len(arms) - 1) for n in runs]
            result[np.ix_(rows, arms)] = _half_widths(np.sqrt(drawn / runs), np.array(levels))
        elif len(arms):
            both = pattern[arms].all(axis=0)
            spread = some[:, 0] if len(arms) == 1 else (some[:, 0] - some[:, 1]) / np.sqrt(2)
            if (n := both.sum()) >= 2:
                half = -special.stdtrit(n - 1, 0.025) * spread[:, both].std(axis=1, ddof=1) / np.sqrt(n)
                result[np.ix_(rows, arms)] = half[:, None]
    return result


def _half_widths(deviations: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(T, D, A) standard deviations by draw -> (T, A): where the two-sided tail of the error is `levels`, (A,)."""
    low, high = np.zeros_like(deviations[:, 0]), 8 * deviations.max(axis=1)
    for _ in range(24):
        middle = (low + high) / 2
        wide = 2 * special.ndtr(-middle[:, None] / deviations).mean(axis=1) <= levels
        low, high = np.where(wide, low, middle), np.where(wide, middle, high)
    return high


@cache
def _detectable_unit(seeds: int, arms: int, power: float) -> float:
    """For a residual standard deviation of 1, by simulated comparisons of arms that do not differ."""
    rng = np.random.default_rng(0)
    pairs = [(arm, 0) for arm in range(1, arms + 1)]
    if arms == 1:
        spread = rng.chisquare(seeds - 1, 2000) / (seeds - 1) * 2 / seeds
        limits = -special.stdtrit(seeds - 1, 0.025) * np.sqrt(spread)
    else:
        free = np.full(arms + 1, ARM_DF)
        free[0] = REFERENCE_DF
        sets, turns = (60, 400) if seeds <= 5 else (16, 200)  # with many seeds one data set is like another
        kept = draw_variances(rng.standard_normal((sets, arms + 1, seeds)), free, rng, BURN_IN, turns)
        common = np.ones((arms, seeds), dtype=bool)
        every = np.ones(arms)
        known = (level_of(LEVELS, seeds, arms) * every, seeds * every, every)
        found = [Noise(*draw_errors(drawn, pairs, common, rng), *known) for drawn in kept]
        limits = np.concatenate([one.simultaneous() for one in found])
    deviation, low, high = np.sqrt(2 / seeds), 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        found = special.ndtr((middle - limits) / deviation) + special.ndtr(-(limits + middle) / deviation)
        low, high = (low, middle) if found.mean() >= power else (middle, high)
    return float(high)


def draw_variances(
    values: np.ndarray, free: np.ndarray, rng: np.random.Generator, burn_in: int, kept: int
) -> np.ndarray:
    """Run a Gibbs sampler: values (C, A, S) with NaN, free (A,) the prior's degrees of freedom -> (C, kept, A)
    variances.

    Each chain may hold data of its own.
    """
    there = np.isfinite(values)
    runs = there.sum(axis=2)  # (C, A)
    y = np.where(there, values, 0.0)
    y = np.where(there, y - y.sum(axis=2, keepdims=True) / runs[:, :, None], 0.0)
    # remove the means of the seeds, too, so that the start, and with it every draw, does not depend on them
    y = np.where(there, y - y.sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1), 0.0)
    common = np.maximum((y**2).sum(axis=(1, 2)) / np.maximum(runs.sum(axis=1) - runs.shape[1], 1), _TINY)  # u, (C,)
    variance = np.repeat(common[:, None], values.shape[1], axis=1)
    shift = np.zeros(values[:, 0].shape)  # t, (C, S)
    result = np.empty((len(values), kept, values.shape[1]))
    for turn in range(burn_in + kept):
        # m given t
        mean = np.where(there, y - shift[:, None], 0).sum(axis=2) / runs
        mean = mean + rng.standard_normal(mean.shape) * np.sqrt(variance / runs)
        # t given m; a seed that no arm has is no seed
        weight = there / variance[:, :, None]
        total = np.maximum(weight.sum(axis=1), 1e-300)
        shift = ((y - mean[:, :, None]) * weight).sum(axis=1) / total
        shift = shift + rng.standard_normal(shift.shape) / np.sqrt(total)
        # v given m, t, u, then u given v
        rest = np.where(there, y - mean[:, :, None] - shift[:, None], 0)
        scale = free * common[:, None] + (rest**2).sum(axis=2)
        variance = np.maximum(scale / (2 * rng.standard_gamma((free + runs) / 2)), _TINY)
        common = rng.standard_gamma(np.full(len(values), free.sum() / 2)) / ((free / variance).sum(axis=1) / 2)
        common = np.maximum(common, _TINY)
        if turn >= burn_in:
            result[:, turn - burn_in] = variance
    return result


def draw_errors(
    drawn: np.ndarray, pairs: Sequence[tuple[int, int]], common: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Map variances (D, A) of a run -> errors (D, P) of the mean differences and their variances (D, P)."""
    runs = np.sqrt(drawn)[:, :, None] * rng.standard_normal((*drawn.shape, common.shape[1]))
    errors, variances = np.empty((len(drawn), len(pairs))), np.empty((len(drawn), len(pairs)))
    for place, ((arm, reference), seeds) in enumerate(zip(pairs, common, strict=True)):
        errors[:, place] = (runs[:, arm] - runs[:, reference])[:, seeds].mean(axis=1)
        variances[:, place] = (drawn[:, arm] + drawn[:, reference]) / seeds.sum()
    return errors, variances


def _root(covariance: np.ndarray) -> np.ndarray:
    """(P, P) -> R with R'R = covariance, negative eigenvalues set to 0."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
