"""Is an arm better than its baseline, or is that the noise of few seeds and few images?

    pairs = {"AP": {"focal_loss": Paired(differences, draws, images=500)}}
    judge(pairs)["AP"]["focal_loss"].verdict                                    # "better"

**Two sources of noise.** Let d_s be arm minus baseline with seed s on one test set: d_s = delta + a_s + b + c_s, where
a_s is the training's luck, b what this choice of test images does to all seeds alike, and c_s what it does to seed s
alone. The mean over n seeds then has the variance

    V = (var a + var c) / n + var b

The variance over seeds, S^2, sees a and c; the bootstrap over images sees b and c, its covariance between two seeds b
alone. So V is estimated by S^2 / n + (mean covariance between the seeds' bootstrap draws, at least 0). Adding the
bootstrap variance of the mean instead would count c twice; drawing seeds and images at once counts it three times
(Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007; McCullagh, "Resampling and exchangeable arrays",
Bernoulli 2000, shows that no resampling of both is exact); and drawing from two to five seeds alone is far too narrow.

**Few seeds.** S^2 has n - 1 degrees of freedom, the image part m - 1 for m images. With r = S^2 / n / V, the share of
the seeds, the half-width of the interval at a level is c sqrt(V) with

    c^2 = (1 - w) t_{m-1}^2 + w t_{n-1}^2,    w = r^2 (3 - 2 r)

which is Student's t exactly where there is one source only. Between them w = r (the squared half-widths add up) is
safe but wide, and Welch and Satterthwaite's degrees of freedom, (n - 1) / r^2, are too bold for two seeds. Coverage of
the 95 % interval by simulation, least and most over ratios of seed to image variance (of the mean) from .01 to 100:

    n = 2   Welch .872 .951    w = r .952 .987    here .944 .972
    n = 3   Welch .921 .951    w = r .952 .976    here .950 .965
    n = 5   Welch .941 .951    w = r .950 .965    here .950 .961

The p value is the level at which the interval touches 0. It is corrected over the arms of a comparison by Holm, within
each metric.

Letters: n seeds, B draws, m images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from scipy.special import stdtr, stdtrit

ALPHA, POWER = 0.05, 0.8
BETTER, WORSE, NO_EVIDENCE, NO_CLAIM = "better", "worse", "no evidence", "one seed: no claim"
#: numbers of seeds that `seeds_needed` tries: all up to 200, then steps of 10 to 1000
SEEDS = np.concatenate([np.arange(2, 200), np.arange(200, 1001, 10)])
_LOWEST = 1e-12  # a p value is not told apart from a smaller one


@dataclass
class Difference:
    """An arm minus the arm it is compared with, in one metric, paired by seed and by image.

    Attributes:
        mean: of the paired differences, 0..1 units. low, high: 95 % interval over seeds and images, None with one seed.
        p_better: probability that the arm is better. p_value: two-sided. p_holm: corrected over the arms.
        seed_sd: deviation of the difference between seeds; image_sd: its standard error from the choice of images.
        verdict: "better", "worse", "no evidence" or "one seed: no claim"; seeds_needed: for "no evidence", how many
            seeds the observed difference would take, None if no number would do (the images are too few).
    """

    metric: str
    mean: float
    low: float | None
    high: float | None
    p_better: float | None
    p_value: float | None
    p_holm: float | None
    seed_sd: float | None
    image_sd: float | None
    verdict: str
    seeds_needed: int | None = None


@dataclass
class Sample:
    """One metric of all arms of a comparison.

    Attributes:
        values: {arm: {seed: value}}, without values that are not defined.
        against: {arm: the arm it is compared with}, of every arm that is judged.
        draws: {arm: {seed: (B,) value on each draw of the images}}, the same images for all; no entry where unknown.
        images: how many hold an object that the metric is about. lower_is_better: for errors.
    """

    values: Mapping[str, Mapping[int, float]]
    against: Mapping[str, str]
    draws: Mapping[str, Mapping[int, np.ndarray]] = field(default_factory=dict)
    images: int = 2
    lower_is_better: bool = False

    def pair(self, arm: str) -> "Paired | None":
        """Differences of the seeds that both arms have, with draws if all of these runs have some; None without."""
        other = self.against[arm]
        mine, theirs = self.values.get(arm, {}), self.values.get(other, {})
        seeds = [seed for seed in mine if seed in theirs]
        if not seeds:
            return None
        differences = [mine[seed] - theirs[seed] for seed in seeds]
        own, others = self.draws.get(arm, {}), self.draws.get(other, {})
        if not all(seed in own and seed in others for seed in seeds):
            return Paired(differences, lower_is_better=self.lower_is_better)
        draws = np.stack([own[seed] - others[seed] for seed in seeds])
        return Paired(differences, draws, self.images, self.lower_is_better)


@dataclass
class Paired:
    """One arm beside its baseline in one metric.

    differences: (n,) arm minus baseline, seed by seed. draws: (n, B) the same differences on resampled images (the same
    images for all seeds), or None where detections were not kept. images: m, that hold an object which the metric is
    about. lower_is_better: for errors.
    """

    differences: Sequence[float]
    draws: np.ndarray | None = None
    images: int = 2
    lower_is_better: bool = False

    def __post_init__(self):
        self.differences = np.asarray(self.differences, dtype=np.float64)
        if self.draws is not None:
            self.draws = np.asarray(self.draws, dtype=np.float64)
            if self.draws.ndim != 2 or len(self.draws) != len(self.differences):
                raise ValueError(f"draws must be ({len(self.differences)} seeds, draws), got {self.draws.shape}")
            self.draws = self.draws[:, np.isfinite(self.draws).all(axis=0)]  # a draw may hold no such object

    @cached_property
    def seed_variance(self) -> float | None:
        """Of one difference, between seeds; None with one seed."""
        return float(self.differences.var(ddof=1)) if len(self.differences) > 1 else None

    @cached_property
    def image_variance(self) -> float | None:
        """Of the mean difference, due to the choice of images, as far as all seeds share it; None without draws."""
        if self.draws is None or self.draws.shape[1] < 2:
            return None
        n, centred = len(self.draws), self.draws - self.draws.mean(axis=1, keepdims=True)
        covariance = centred @ centred.T / (self.draws.shape[1] - 1)
        shared = covariance[0, 0] if n == 1 else (covariance.sum() - np.trace(covariance)) / (n * (n - 1))
        # Resampling m images has the variance of a sample with divisor m, not m - 1.
        return max(float(shared), 0.0) * self.images / self.df_images

    @property
    def df_images(self) -> int:
        return max(self.images - 1, 1)

    @property
    def p_better(self) -> float:
        """P(A > B) of Bouthillier et al. 2021, arXiv 2103.03098: how often one run is better than the other.

        Over the pairs of runs with one seed and, where there are draws, the images; equal ones count half.
        """
        values = self.differences if self.draws is None or not self.draws.size else self.draws
        values = -values if self.lower_is_better else values
        return float(((values > 0) + 0.5 * (values == 0)).mean())


def judge_samples(samples: Mapping[str, Sample], alpha: float = ALPHA) -> dict[str, dict[str, Difference]]:
    """{metric: Sample} -> {metric: {arm: Difference}}, of the arms that share a seed with the one they go against."""
    pairs = {metric: {arm: sample.pair(arm) for arm in sample.against} for metric, sample in samples.items()}
    return judge({m: {arm: pair for arm, pair in arms.items() if pair is not None} for m, arms in pairs.items()}, alpha)


def judge(pairs: Mapping[str, Mapping[str, Paired]], alpha: float = ALPHA) -> dict[str, dict[str, Difference]]:
    """{metric: {arm: Paired}} -> the same with Differences; p values are corrected over the arms of a metric."""
    named = [(metric, arm, pair) for metric, arms in pairs.items() for arm, pair in arms.items()]
    found: dict[str, dict[str, Difference]] = {metric: {} for metric in pairs}
    for (metric, arm, pair), tested in zip(named, _test([pair for _, _, pair in named], alpha), strict=True):
        found[metric][arm] = _difference(metric, pair, *tested)
    for metric, arms in found.items():
        tested = [arm for arm, difference in arms.items() if difference.p_value is not None]
        for arm, p_holm in zip(tested, holm([arms[arm].p_value for arm in tested]), strict=True):
            difference, pair = arms[arm], pairs[metric][arm]
            difference.p_holm = p_holm
            if p_holm <= alpha:
                difference.verdict = WORSE if (difference.mean < 0) != pair.lower_is_better else BETTER
            else:
                difference.seeds_needed = seeds_needed(pair, alpha / len(tested))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm 1979: the i-th smallest of k p values times k - i + 1, at least as large as those before, at most 1."""
    order, k = np.argsort(p_values, kind="stable"), len(p_values)
    corrected = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * np.arange(k, 0, -1)), 1)
    return corrected[np.argsort(order)].tolist() if k else []


def seeds_needed(pair: Paired, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Fewest seeds with which a true difference as large as the observed one is found with this power.

    Beyond 200 a round number. None where no number of SEEDS is enough: these images are too few for it.
    """
    if pair.seed_variance is None:
        return None
    seeds = pair.seed_variance / SEEDS
    variance = seeds + (pair.image_variance or 0.0)
    share = np.divide(seeds, variance, out=np.ones(len(SEEDS)), where=variance > 0)
    w = _weight(share)
    needed = 0.0
    for tail in (alpha / 2, 1 - power):
        needed += np.sqrt((1 - w) * _quantile(tail, pair.df_images) ** 2 + w * _quantiles(tail) ** 2)
    enough = abs(pair.differences.mean()) > needed * np.sqrt(variance)
    return int(SEEDS[np.argmax(enough)]) if enough.any() else None


def _t_quantile(tail: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Student's t that is exceeded with this probability; `scipy.stats.t.isf` without its checks."""
    return -stdtrit(df, tail)


@cache
def _quantile(tail: float, df: int) -> float:
    return float(_t_quantile(tail, df))


@cache
def _quantiles(tail: float) -> np.ndarray:
    """Student's t for each number of SEEDS."""
    return _t_quantile(tail, SEEDS - 1)


def _difference(metric: str, pair: Paired, p_value: float | None, half_width: float | None) -> Difference:
    mean, image = float(pair.differences.mean()), pair.image_variance
    claim = pair.seed_variance is not None
    return Difference(
        metric=metric,
        mean=mean,
        low=None if half_width is None else mean - half_width,
        high=None if half_width is None else mean + half_width,
        p_better=pair.p_better if claim else None,
        p_value=p_value,
        p_holm=None,
        seed_sd=float(np.sqrt(pair.seed_variance)) if claim else None,
        image_sd=None if image is None else float(np.sqrt(image)),
        verdict=NO_EVIDENCE if claim else NO_CLAIM,
    )


def _test(pairs: Sequence[Paired], alpha: float) -> list[tuple[float | None, float | None]]:
    """Two-sided p value and half-width of the interval, all at once.

    (None, None) with one seed, and where nothing varies although the arms differ: then seeds had no effect, and there
    is nothing to measure the difference by.
    """
    tested: list[tuple[float | None, float | None]] = [(None, None)] * len(pairs)
    rows = []
    for place, pair in enumerate(pairs):
        if pair.seed_variance is None:
            continue
        seeds = pair.seed_variance / len(pair.differences)
        variance, mean = seeds + (pair.image_variance or 0.0), abs(pair.differences.mean())
        if variance > 0:
            rows.append((place, mean, variance, seeds / variance, len(pair.differences) - 1, pair.df_images))
        elif mean == 0:
            tested[place] = (1.0, 0.0)
    if rows:
        place, mean, variance, share, *df = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
        half_width = critical_value(alpha / 2, share, *df) * np.sqrt(variance)
        p_value = p_value_of(mean / np.sqrt(variance), share, *df)
        for at, *values in zip(place.astype(int).tolist(), p_value.tolist(), half_width.tolist(), strict=True):
            tested[at] = tuple(values)
    return tested


def critical_value(tail: float, share: np.ndarray, df_seeds: np.ndarray, df_images: np.ndarray) -> np.ndarray:
    """c of the top of this file, for a one-sided tail; arrays of one shape."""
    w = _weight(share)
    return np.sqrt((1 - w) * _t_quantile(tail, df_images) ** 2 + w * _t_quantile(tail, df_seeds) ** 2)


def _weight(share: np.ndarray) -> np.ndarray:
    """How much of the seeds' quantile: 0 where they make no noise, 1 where they make all."""
    return share**2 * (3 - 2 * share)


def p_value_of(t: np.ndarray, share: np.ndarray, df_seeds: np.ndarray, df_images: np.ndarray) -> np.ndarray:
    """Two-sided p value of t = |mean| / sqrt(V): where `critical_value` is t. Arrays of one shape."""
    # It lies between those of either source alone; bisection on the logarithm, and a line through the last two.
    alone = stdtr(df_images, -t), stdtr(df_seeds, -t)
    low, high = (np.log(np.maximum(choose(*alone), _LOWEST)) for choose in (np.minimum, np.maximum))
    while (high - low).max() > 0.02:
        middle = (low + high) / 2
        above = critical_value(np.exp(middle), share, df_seeds, df_images) > t
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    most, least = (critical_value(np.exp(end), share, df_seeds, df_images) for end in (low, high))
    part = np.divide(most - t, most - least, out=np.zeros(len(t)), where=most > least)
    return 2 * np.exp(low + part * (high - low))
