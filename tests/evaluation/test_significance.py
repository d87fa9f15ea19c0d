"""Differences, their intervals and verdicts: against scipy, by hand, and by simulation of comparisons without any."""

import itertools

import numpy as np
import pytest
from scipy import stats

from imbdet.evaluation import Detections, GroundTruth
from imbdet.evaluation.bootstrap import image_weights, over_classes, rank_detections
from imbdet.evaluation.significance import Paired, critical_value, holm, judge, p_value_of, seeds_needed

SEEDS = (2, 3, 5)
#: variance of the mean difference over three or so seeds: the training's luck, the images' for all seeds, for one seed
NOISE = {
    "pure image noise": (0, 1, 0),
    "pure seed noise": (1, 0, 0),
    "images, each seed its own": (0, 0, 1),
    "both alike": (1, 1, 0),
    "mostly images": (0.2, 1, 0.2),
    "mostly seeds": (5, 1, 1),
}


def judged(pair, **more):
    return judge({"AP": {"arm": pair, **more}})["AP"]["arm"]


def test_holm_by_hand():
    """Sorted: .005 x 4 = .02, .01 x 3 = .03, .03 x 2 = .06, .04 x 1 = .04 but not below the one before: .06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1, 1] and holm([0.02]) == [0.02] and holm([]) == []


def test_holm_against_a_naive_loop():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p = rng.random(5) ** 3
        expected = np.zeros(5)
        for i in range(5):  # the largest over all that are at most as large, each times the number not below it
            expected[i] = min(1, max(p[j] * sum(p[k] >= p[j] for k in range(5)) for j in range(5) if p[j] <= p[i]))
        np.testing.assert_allclose(holm(p), expected)


@pytest.mark.parametrize("n", SEEDS)
def test_without_images_it_is_the_paired_t_test(n):
    values = np.random.default_rng(n).normal(0.01, 0.01, n)
    mine, reference = judged(Paired(values)), stats.ttest_1samp(values, 0)
    assert mine.p_value == pytest.approx(reference.pvalue, rel=1e-6)
    assert (mine.low, mine.high) == pytest.approx(tuple(reference.confidence_interval()))
    assert mine.seed_sd == pytest.approx(values.std(ddof=1)) and mine.image_sd is None
    assert mine.mean == pytest.approx(values.mean())


def test_without_noise_of_seeds_it_is_the_t_test_over_images():
    """Three seeds that all give the same differences per image; the bootstrap finds the standard error."""
    per_image = np.random.default_rng(0).normal(0.2, 1, 40)
    draws = per_image @ image_weights(40, 20_000) / 40
    mine = judged(Paired([per_image.mean()] * 3, np.tile(draws, (3, 1)), images=40))
    reference = stats.ttest_1samp(per_image, 0)
    assert mine.image_sd == pytest.approx(per_image.std(ddof=1) / np.sqrt(40), rel=0.02)
    assert mine.p_value == pytest.approx(reference.pvalue, rel=0.05) and mine.seed_sd == 0
    assert (mine.low, mine.high) == pytest.approx(tuple(reference.confidence_interval()), rel=0.03)


def test_only_what_all_seeds_share_is_added_for_the_images():
    """Draws of two seeds with variance 4 and 9 and covariance 3: 3 is shared, and m / (m - 1) corrects it."""
    rng = np.random.default_rng(1)
    draws = rng.multivariate_normal([0, 0], [[4, 3], [3, 9]], 200_000).T
    pair = Paired([1.0, 2.0], draws, images=11)
    assert pair.image_variance == pytest.approx(3 * 11 / 10, rel=0.02)
    opposed = Paired([1.0, 2.0], draws * [[1], [-1]], images=11)
    assert opposed.image_variance == 0  # seeds that an image moves apart share nothing
    assert Paired([1.0], draws[:1], images=11).image_variance == pytest.approx(4 * 11 / 10, rel=0.02)


def test_draws_that_hold_no_such_object_are_left_out():
    draws = np.array([[1.0, np.nan, 3.0, 5.0], [2.0, 2.0, 4.0, 6.0]])
    assert Paired([0.1, 0.2], draws, 10).image_variance == pytest.approx(np.cov(draws[:, [0, 2, 3]])[0, 1] * 10 / 9)
    assert Paired([0.1, 0.2], draws * np.nan, 10).image_variance is None


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_p_value_is_where_the_interval_touches_zero(share):
    df = np.array([2.0]), np.array([49.0])
    for t in (0.05, 1.0, 2.5, 6.0):
        p = p_value_of(np.array([t]), np.array([share]), *df)
        assert critical_value(p / 2, np.array([share]), *df)[0] == pytest.approx(t, rel=1e-4)


@pytest.mark.parametrize(("effect", "runs"), [(0.5, 34), (1, 10), (1.5, 6), (2, 5), (3, 4)])
def test_seeds_needed_of_the_paired_t_test(effect, runs):
    """Runs for a power of .8 at level .05; the exact power by the noncentral t distribution."""
    pair = Paired(np.array([-1, 1]) / np.sqrt(2) + effect)
    assert pair.seed_variance == pytest.approx(1) and seeds_needed(pair) == runs

    def power(n):
        limit = stats.t.isf(0.025, n - 1)
        return stats.nct.sf(limit, n - 1, effect * np.sqrt(n)) + stats.nct.cdf(-limit, n - 1, effect * np.sqrt(n))

    assert power(runs) >= 0.8 > power(runs - 1)


def test_no_number_of_seeds_mends_too_few_images():
    """A difference of 2 standard errors of the images is found with power .8 never: that takes 1.96 + .84 of them."""
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 1, 5000)
    draws = np.stack([shared, shared])
    assert seeds_needed(Paired([1.9, 2.1], draws, images=1000)) is None
    assert seeds_needed(Paired([2.9, 3.1], draws, images=1000)) == 2
    few = seeds_needed(Paired([0.0, 6.0], draws, images=1000))
    assert few > seeds_needed(Paired([0.0, 6.0])) > 2
    assert seeds_needed(Paired([-1.0, 1.0])) is None and seeds_needed(Paired([1.0])) is None


def test_verdicts():
    sure = np.array([0.030, 0.031, 0.032])
    assert judged(Paired(sure)).verdict == "better" and judged(Paired(-sure)).verdict == "worse"
    assert judged(Paired(sure, lower_is_better=True)).verdict == "worse"
    better = judged(Paired(-sure, lower_is_better=True))
    assert better.verdict == "better" and better.p_better == 1 and better.seeds_needed is None
    unsure = judged(Paired([0.03, 0.01]))
    assert unsure.verdict == "no evidence" and unsure.seeds_needed == seeds_needed(Paired([0.03, 0.01])) > 2
    one = judged(Paired([0.05], np.array([[0.04, 0.05, 0.06]]), images=50))
    assert one.verdict == "one seed: no claim" and one.mean == 0.05 and one.image_sd == pytest.approx(0.0101, abs=1e-4)
    assert [one.low, one.high, one.p_better, one.p_value, one.p_holm, one.seed_sd, one.seeds_needed] == [None] * 7


def test_arms_are_corrected_for_each_other_within_a_metric():
    """p = .013 is "better" alone, not beside three other arms: .013 x 4. An arm of one seed does not count."""
    values = np.array([0.02, 0.03, 0.025, 0.01])
    alone = judged(Paired(values))
    assert alone.p_value == pytest.approx(0.013, abs=0.003) and alone.verdict == "better"
    others = {f"arm {i}": Paired([-0.01, 0.0, 0.01, 0.02]) for i in range(3)}
    beside = judged(Paired(values), **others)
    assert beside.p_value == alone.p_value and beside.p_holm == pytest.approx(4 * alone.p_value)
    assert beside.verdict == "no evidence" and beside.seeds_needed > 4 and beside.low == alone.low > 0
    assert judged(Paired(values), single=Paired([0.1])).p_holm == alone.p_value
    assert judge({"AP": {"arm": Paired(values)}, "AP50": others})["AP"]["arm"].p_holm == alone.p_value


def test_seeds_without_any_effect():
    """All seeds alike and no detections kept: there is nothing to measure a difference by, so no claim is made."""
    same = judged(Paired([0.02, 0.02, 0.02]))
    assert same.verdict == "no evidence" and same.p_value is same.low is same.p_holm is None and same.seed_sd == 0
    none = judged(Paired([0.0, 0.0], np.zeros((2, 10)), images=5))
    assert (none.p_value, none.low, none.high, none.verdict, none.p_better) == (1, 0, 0, "no evidence", 0.5)


def test_probability_that_one_run_is_better():
    """By hand: draws of two seeds, 5 of 8 above 0 and one equal; without draws 2 of 3 runs."""
    draws = np.array([[1.0, 1, -1, 0], [2, 3, 1, -1]])
    assert judged(Paired([0.1, 0.2], draws, 9)).p_better == pytest.approx(5.5 / 8)
    assert judged(Paired([0.1, 0.2], draws, 9, lower_is_better=True)).p_better == pytest.approx(2.5 / 8)
    assert judged(Paired([1.0, -1.0, 2.0])).p_better == pytest.approx(2 / 3)


def test_wrong_draws():
    with pytest.raises(ValueError, match=r"draws must be \(2 seeds, draws\), got \(3, 4\)"):
        Paired([0.1, 0.2], np.zeros((3, 4)))


def comparisons(n, noise, arms=1, sims=500, images=60, seed=0):
    """`sims` comparisons of `arms` with a baseline that are all alike: {i: {arm: Paired}}.

    The metric is the mean of a number per image: luck of the training, effect of the image on the arm, rest.
    """
    training, shared, own = noise
    rng, weights = np.random.default_rng([seed, n]), image_weights(images, 300, seed) / images
    shape = (sims, arms + 1, n, images)
    values = rng.normal(0, training**0.5, (*shape[:3], 1)) + rng.normal(0, (own * images) ** 0.5, shape)
    values += rng.normal(0, (shared * images) ** 0.5, (sims, arms + 1, 1, images))
    means, draws = values.mean(axis=-1), values @ weights
    return {
        i: {arm: Paired(means[i, arm] - means[i, 0], draws[i, arm] - draws[i, 0], images) for arm in range(1, arms + 1)}
        for i in range(sims)
    }


@pytest.mark.parametrize("n", [n if n == 3 else pytest.param(n, marks=pytest.mark.slow) for n in SEEDS])
def test_coverage_and_false_better_over_500_comparisons_of_four_arms_without_a_difference(n):
    """0 lies in 92 to 98 % of all intervals; at most 5 % of the comparisons have an arm that is "better"."""
    for name, noise in NOISE.items():
        covered, wrong = rates(comparisons(n, noise, arms=4))
        assert 0.92 <= covered <= 0.98, (name, covered)
        assert 0 < wrong <= 0.05, (name, wrong)  # nor so timid that nothing is ever found


def rates(pairs):
    """Share of the intervals that hold 0, and of the comparisons with an arm that is better."""
    found = judge(pairs).values()
    covered = np.mean([one[arm].low <= 0 <= one[arm].high for one in found for arm in one])
    return covered, np.mean([any(d.verdict == "better" for d in one.values()) for one in found])


@pytest.mark.slow
@pytest.mark.parametrize("n", (*SEEDS, 10))
@pytest.mark.parametrize("images", [15, 200])
def test_false_better_and_coverage_with_few_and_many_images(n, images):
    for name, noise in NOISE.items():
        covered, wrong = rates(comparisons(n, noise, arms=4, images=images, seed=1))
        assert 0.92 <= covered <= 0.98 and wrong <= 0.05, (name, covered, wrong)


def test_the_rule_between_the_two_sources():
    """Coverage with known image variance: ours stays near .95; Welch's degrees of freedom do not with two seeds."""
    rng, count = np.random.default_rng(0), 10_000
    for n in SEEDS:
        welch = []
        for ratio in (0.1, 1, 10, 30):
            seeds = ratio * rng.chisquare(n - 1, count) / (n - 1)
            error, variance = rng.normal(0, np.sqrt(ratio + 1), count), seeds + 1
            share = seeds / variance
            df = np.full(count, n - 1.0), np.full(count, 10_000.0)
            covered = np.mean(abs(error) <= critical_value(0.025, share, *df) * np.sqrt(variance))
            assert 0.935 <= covered <= 0.978, (n, ratio, covered)
            welch.append(np.mean(abs(error) <= stats.t.isf(0.025, (n - 1) / share**2) * np.sqrt(variance)))
        assert n > 2 or min(welch) < 0.9


def small_detections(rng, truth, hard, luck):
    """Detections of a run on a small set: each object with a chance by its image, a box that is off, false alarms."""
    found = rng.random(len(truth.image)) < np.clip(0.7 + hard[truth.image] + luck, 0.05, 1)
    boxes = truth.xywh[found] + rng.normal(0, 2.5, (found.sum(), 4))
    alarms = rng.poisson(0.5 * len(truth))
    wrong = np.column_stack([rng.uniform(0, 80, (alarms, 2)), np.full((alarms, 2), 20.0)])
    images = np.concatenate([truth.image[found], rng.integers(0, len(truth), alarms)])
    labels = np.concatenate([truth.label[found], rng.integers(0, 2, alarms)])
    scores = np.concatenate([rng.beta(4, 2, found.sum()), rng.beta(2, 4, alarms)])
    return Detections(truth.image_ids[images], labels, scores, np.vstack([boxes, wrong]).clip(0), truth.class_names)


def small_truth(rng, images):
    """Images of 100 x 100 pixels with up to three objects of 20 x 20 in places of their own."""
    places = np.array(list(itertools.product((5, 40, 75), (5, 40, 75))), dtype=float)
    chosen = [rng.choice(9, rng.integers(0, 4), replace=False) for _ in range(images)]
    image = np.repeat(np.arange(images), [len(c) for c in chosen])
    xywh = np.column_stack([places[np.concatenate(chosen).astype(int)], np.full((len(image), 2), 20.0)])
    size, area = np.full(images, 100.0), np.full(len(image), 400.0)
    crowd, label = np.zeros(len(image), dtype=bool), rng.integers(0, 2, len(image))
    names = (("a", "b"), np.array([1, 2]))
    return GroundTruth("small", *names, np.arange(images) + 1, size, size, image, label, xywh, area, crowd)


def through_ap(sims, n, taste, luck, images=50, draws=200):
    """Comparisons of two arms whose AP is the same on average: each arm finds more in one half of all images.

    taste: by how much; luck: deviation of the chance to find an object between trainings.
    """
    rng, weights = np.random.default_rng([sims, n]), image_weights(images, draws)
    pairs = {}
    for sim in range(sims):
        truth = small_truth(rng, images)
        liked = rng.choice([-taste, taste], images)
        values, drawn = [], []
        for hard in (liked, -liked):
            runs = [small_detections(rng, truth, hard, rng.normal(0, luck)) for _ in range(n)]
            ranked = [rank_detections(truth, run) for run in runs]
            values.append([over_classes(run.metrics(weights[:, :1] * 0 + 1))["AP"][0] for run in ranked])
            drawn.append([over_classes(run.metrics(weights))["AP"] for run in ranked])
        images_with = ranked[0].images_with_objects([0, 1])
        pairs[sim] = {"arm": Paired(np.subtract(*values), np.subtract(*map(np.array, drawn)), images_with)}
    return pairs


def test_a_difference_through_the_ap_bootstrap_is_measured():
    """The standard error that the bootstrap finds is the spread of the difference over new images (within 35 %)."""
    pairs = through_ap(sims=25, n=2, taste=0.25, luck=0.0)
    found = [one["arm"] for one in judge(pairs).values()]
    spread = np.std([one.mean for one in found], ddof=1)
    claimed = np.sqrt(np.mean([one.seed_sd**2 / 2 + one.image_sd**2 for one in found]))
    assert claimed == pytest.approx(spread, rel=0.35) and spread > 0.01


@pytest.mark.slow
@pytest.mark.parametrize(("n", "taste", "luck"), [(2, 0.25, 0.05), (3, 0.25, 0.0), (3, 0.0, 0.1)])
def test_coverage_through_the_ap_bootstrap(n, taste, luck):
    covered, wrong = rates(through_ap(500, n, taste, luck))
    assert 0.92 <= covered <= 0.98 and wrong <= 0.05
