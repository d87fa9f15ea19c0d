"""Is an arm better than what it is compared with, or is that the noise of few seeds and few images?

    judge_samples({"AP": Sample(values, against), ...}, primary="AP")["AP"]["focal_loss"].verdict      # "better"

All arms of a metric tell together how large the noise is, and the noise of a baseline is one for all that go against it
(see `noise`). Of the one primary metric, which is named before anything runs, intervals and verdicts hold for all
remedies at once; controls are a family of their own. The intervals of every other metric hold for one arm alone: they
are exploratory, and of twenty such metrics one is off by chance.

Letters: n seeds, B draws, m images, P pairs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from .noise import Noise, image_covariance_of, noise_of, seeds_needed

BETTER, WORSE, NO_EVIDENCE, NO_CLAIM = "better", "worse", "no evidence", "one seed: no claim"
_NOTHING = 1e-10  #: a standard error below it is no noise at all


@dataclass
class Difference:
    """An arm minus the arm it is compared with, in one metric, paired by seed and by image.

    Attributes:
        mean: of the paired differences, 0..1 units. low, high: 95 % interval over seeds and images, None with one seed;
            of the primary metric it holds for all arms of the family at once.
        p_better: probability that the arm is better. p_value: two-sided, of this arm alone. p_family: corrected for all
            arms of the family, of the primary metric only.
        seed_sd: deviation of the difference between seeds; image_sd: its standard error from the choice of images.
        verdict: "better", "worse", "no evidence" or "one seed: no claim"; seeds_needed: for "no evidence" in the
            primary metric, how many seeds the observed difference would take, None if no number would do.
        exploratory: whether it is of another metric than the primary one.
    """

    metric: str
    mean: float
    low: float | None
    high: float | None
    p_better: float | None
    p_value: float | None
    p_family: float | None
    seed_sd: float | None
    image_sd: float | None
    verdict: str
    seeds_needed: int | None = None
    exploratory: bool = False


@dataclass
class Sample:
    """One metric of all arms of a comparison.

    Attributes:
        values: {arm: {seed: value}}, without values that are not defined.
        against: {arm: the arm it is compared with}, of every arm that is judged.
        draws: {arm: {seed: (B,) value on each draw of the images}}, the same images for all; no entry where unknown.
        images: m, how many hold an object that the metric is about. lower_is_better: for errors.
        controls: arms of `against` that are controls. shared_images: whether all seeds have the same images.
    """

    values: Mapping[str, Mapping[int, float]]
    against: Mapping[str, str]
    draws: Mapping[str, Mapping[int, np.ndarray]] = field(default_factory=dict)
    images: int = 2
    lower_is_better: bool = False
    controls: frozenset[str] = frozenset()
    shared_images: bool = True

    def seeds(self) -> list[int]:
        return sorted({seed for of_arm in self.values.values() for seed in of_arm})

    def common(self, arm: str) -> list[int]:
        """Return the seeds that an arm and the one it is compared with both have."""
        theirs = self.values.get(self.against[arm], {})
        return [seed for seed in self.values.get(arm, {}) if seed in theirs]

    def matrix(self) -> np.ndarray:
        """Return (arms, seeds) in the order of `values` and `seeds()`, NaN where a run is missing."""
        return np.array([[of_arm.get(s, np.nan) for s in self.seeds()] for of_arm in self.values.values()], dtype=float)

    def differences(self, arm: str) -> np.ndarray:
        """Return (n,) arm minus the other, seed by seed."""
        other = self.values.get(self.against[arm], {})
        return np.array([self.values[arm][seed] - other[seed] for seed in self.common(arm)])

    def drawn(self, arm: str) -> np.ndarray | None:
        """Return (n, B) the differences on every draw of the images; None unless all of these runs have draws."""
        own, others, seeds = self.draws.get(arm, {}), self.draws.get(self.against[arm], {}), self.common(arm)
        if not seeds or not all(seed in own and seed in others for seed in seeds):
            return None
        return np.stack([np.asarray(own[s], dtype=float) - np.asarray(others[s], dtype=float) for s in seeds])

    def image_covariance(self, arms: list[str]) -> np.ndarray:
        """Return (P, P) of the mean differences by the choice of images; NaN on the diagonal of an arm without
        draws.
        """
        covariance = np.diag(np.full(len(arms), np.nan))
        drawn = {place: one for place, arm in enumerate(arms) if (one := self.drawn(arm)) is not None}
        drawn = {place: one for place, one in drawn.items() if np.isfinite(one).any()}
        if not drawn or not self.shared_images:
            return covariance
        every, width = self.seeds(), max(one.shape[1] for one in drawn.values())
        stacked = np.full((len(drawn), len(every), width), np.nan)
        for row, (place, one) in enumerate(drawn.items()):
            stacked[row, [every.index(seed) for seed in self.common(arms[place])]] = one
        there = np.isfinite(np.where(np.isnan(stacked).all(axis=2, keepdims=True), 0, stacked)).all(axis=(0, 1))
        if there.sum() >= 2:
            covariance[np.ix_(list(drawn), list(drawn))] = image_covariance_of(stacked, self.images)
        return covariance

    def p_better(self, arm: str) -> float:
        """Return P(A > B) of Bouthillier et al. 2021, arXiv 2103.03098: how often one run is better than the other.

        Over the pairs of runs with one seed and, where there are draws, the images; equal ones count half.
        """
        drawn = self.drawn(arm)
        drawn = None if drawn is None else drawn[:, np.isfinite(drawn).all(axis=0)]
        values = self.differences(arm) if drawn is None or not drawn.size else drawn
        values = -values if self.lower_is_better else values
        return float(((values > 0) + 0.5 * (values == 0)).mean())


def judge_samples(samples: Mapping[str, Sample], primary: str = "AP") -> dict[str, dict[str, Difference]]:
    """Map {metric: Sample} -> {metric: {arm: Difference}}, of the arms that share a seed with the one they go
    against.
    """
    return {metric: _judge(metric, sample, metric == primary) for metric, sample in samples.items()}


def _judge(metric: str, sample: Sample, primary: bool) -> dict[str, Difference]:
    shared = [arm for arm in sample.against if sample.common(arm)]
    found = {arm: _described(metric, sample, arm, primary) for arm in shared}
    arms = [arm for arm in shared if len(sample.common(arm)) >= 2]
    if not arms:
        return found
    names = list(sample.values)
    pairs = [(names.index(arm), names.index(sample.against[arm])) for arm in arms]
    covariance = sample.image_covariance(arms)
    by_images = np.nan_to_num(covariance)
    noise = noise_of(sample.matrix(), pairs, by_images, sample.images)
    means = np.array([found[arm].mean for arm in arms])
    alone, p_alone = noise.half_width(), noise.p_values(means)
    together, p_family = _families(noise, means, arms, sample.controls) if primary else (alone, [None] * len(arms))
    for k, arm in enumerate(arms):
        one, measurable = found[arm], noise.scale[k] > _NOTHING
        one.image_sd = None if np.isnan(covariance[k, k]) else float(np.sqrt(max(covariance[k, k], 0)))
        if not measurable and one.mean:
            continue  # seeds had no effect, and there is nothing to measure the difference by
        width = float(together[k]) if measurable else 0.0
        one.low, one.high = one.mean - width, one.mean + width
        one.p_value = float(p_alone[k]) if measurable else 1.0
        one.p_family = (float(p_family[k]) if measurable else 1.0) if primary else None
        if (one.p_value if p_family[k] is None else one.p_family) <= 0.05:
            one.verdict = WORSE if (one.mean < 0) != sample.lower_is_better else BETTER
        elif primary and one.mean:
            family = sum((other in sample.controls) == (arm in sample.controls) for other in arms)
            n, image = len(sample.common(arm)), float(np.sqrt(max(by_images[k, k], 0)))
            sd = float(np.sqrt(max(noise.scale[k] ** 2 - image**2, 0) * n / 2))
            one.seeds_needed = seeds_needed(one.mean, family, sd, image)
    return found


def _described(metric: str, sample: Sample, arm: str, primary: bool) -> Difference:
    """What is known of a difference before the noise is."""
    values, several = sample.differences(arm), len(sample.common(arm)) > 1
    spread, image = float(values.std(ddof=1)) if several else None, None
    if not several and (drawn := sample.drawn(arm)) is not None:
        drawn = drawn[0][np.isfinite(drawn[0])]
        image = (
            float(drawn.std(ddof=1) * np.sqrt(sample.images / max(sample.images - 1, 1))) if len(drawn) > 1 else None
        )
    p_better, verdict = (sample.p_better(arm), NO_EVIDENCE) if several else (None, NO_CLAIM)
    mean = float(values.mean())
    return Difference(metric, mean, None, None, p_better, None, None, spread, image, verdict, exploratory=not primary)


def _families(noise: Noise, means: np.ndarray, arms: list[str], controls: Iterable[str]) -> tuple:
    """Half-widths and p values that hold for all remedies at once, and for all controls at once."""
    width, p_values = np.zeros(len(arms)), np.zeros(len(arms))
    for wanted in (False, True):
        of = [k for k, arm in enumerate(arms) if (arm in controls) == wanted]
        part = noise.of(of)
        if len(of) == 1:
            width[of], p_values[of] = part.half_width(), part.p_values(means[of])
        elif of:
            width[of], p_values[of] = part.simultaneous(), part.family_p_values(means[of])
    return width, p_values
