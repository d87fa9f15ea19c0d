"""Differences, their intervals and verdicts: against scipy, by hand, and by simulation of comparisons without any."""

import itertools

import numpy as np
import pytest
from scipy import stats

from imbdet.evaluation import Detections, GroundTruth
from imbdet.evaluation.bootstrap import image_weights, over_classes, rank_detections
from imbdet.evaluation.noise import noise_of
from imbdet.evaluation.significance import Sample, judge_samples

#: variance over three or so seeds: the training's luck, the images' for all seeds, for one seed
NOISE = {
    "pure image noise": (0, 1, 0),
    "pure seed noise": (1, 0, 0),
    "images, each seed its own": (0, 0, 1),
    "both alike": (1, 1, 0),
}


def sample(*arms, draws=None, **more):
    """A baseline (the first) and arms, from their values by seed; draws: of each arm (n, B)."""
    names = ["baseline", *(f"arm {k}" for k in range(1, len(arms)))]
    values = {name: dict(enumerate(map(float, one))) for name, one in zip(names, arms, strict=True)}
    drawn = {name: dict(enumerate(one)) for name, one in zip(names, draws, strict=True)} if draws is not None else {}
    return Sample(values, dict.fromkeys(names[1:], "baseline"), drawn, **more)


def judged(*arms, primary="AP", **more):
    return judge_samples({"AP": sample(*arms, **more)}, primary)["AP"]


@pytest.mark.parametrize("n", [2, 3, 5])
def test_one_arm_without_images_is_the_paired_t_test(n):
    values = np.random.default_rng(n).normal(0.01, 0.01, n)
    mine, reference = judged(np.zeros(n), values)["arm 1"], stats.ttest_1samp(values, 0)
    assert mine.p_value == mine.p_family == pytest.approx(reference.pvalue, rel=0.05)
    low, high = reference.confidence_interval()
    assert (mine.low, mine.high) == pytest.approx((low, high), abs=0.06 * (high - low))
    assert mine.seed_sd == pytest.approx(values.std(ddof=1)) and mine.image_sd is None
    assert mine.mean == pytest.approx(values.mean())


def test_without_noise_of_seeds_it_is_the_normal_test_over_images():
    """Three seeds that all give the same differences per image; the bootstrap finds the standard error."""
    per_image = np.random.default_rng(0).normal(0.2, 1, 400)
    drawn = np.tile(per_image @ image_weights(400, 4000) / 400, (3, 1))
    mine = judged(np.zeros(3), [per_image.mean()] * 3, draws=[0 * drawn, drawn], images=400)["arm 1"]
    reference = stats.ttest_1samp(per_image, 0)
    assert mine.image_sd == pytest.approx(per_image.std(ddof=1) / 20, rel=0.05) and mine.seed_sd == 0
    assert mine.p_value == pytest.approx(reference.pvalue, rel=0.2)


def test_primary_intervals_hold_for_all_remedies_and_controls_are_apart():
    rng = np.random.default_rng(1)
    arms = rng.normal(0, 1, (6, 4))
    alone = judged(*arms, primary="AP50")
    together = judged(*arms, controls=frozenset({"arm 4", "arm 5"}))
    noise = noise_of(arms, [(k, 0) for k in range(1, 6)])
    for k, arm in enumerate(alone):
        assert alone[arm].exploratory and not together[arm].exploratory and alone[arm].p_family is None
        assert alone[arm].high - alone[arm].mean == pytest.approx(noise.half_width()[k])
        assert together[arm].high - together[arm].low > alone[arm].high - alone[arm].low
        assert together[arm].p_value == alone[arm].p_value < together[arm].p_family
        assert (together[arm].p_family <= 0.05) == (together[arm].low > 0 or together[arm].high < 0)
    # three remedies and two controls are two families: each has narrower intervals than all five together
    every = judged(*arms)
    assert all(together[arm].high - together[arm].low < every[arm].high - every[arm].low for arm in together)
    assert every["arm 1"].low == pytest.approx(every["arm 1"].mean - noise.simultaneous()[0])


def test_other_arms_tell_how_large_the_noise_is():
    """Three seeds: alone the arm has 2 degrees of freedom; beside eleven others of the same noise it is found."""
    rng = np.random.default_rng(3)
    arms = rng.normal(0, 0.01, (13, 3))
    arms[12] += 0.10
    assert judged(*arms)["arm 12"].verdict == "better"
    alone = judged(arms[0], arms[12])["arm 1"]
    assert alone.high - alone.low > 1.5 * (judged(*arms, primary="")["arm 12"].high - alone.mean)


def test_verdicts():
    sure, luck = np.array([0.030, 0.031, 0.032]), np.array([0.001, 0.0, 0.0005])
    assert judged(luck, luck + sure)["arm 1"].verdict == "better"
    assert judged(luck, luck - sure)["arm 1"].verdict == "worse"
    assert judged(luck, luck + sure, lower_is_better=True)["arm 1"].verdict == "worse"
    better = judged(luck, luck - sure, lower_is_better=True)["arm 1"]
    assert better.verdict == "better" and better.p_better == 1 and better.seeds_needed is None
    unsure = judged([0, 0], [0.03, 0.01])["arm 1"]
    assert unsure.verdict == "no evidence" and unsure.seeds_needed > 2
    assert judged([0, 0], [0.03, 0.01], primary="")["arm 1"].seeds_needed is None
    drawn = np.array([[0.04, 0.05, 0.06]])
    one = judged([0.0], [0.05], draws=[0 * drawn, drawn], images=50)["arm 1"]
    assert one.verdict == "one seed: no claim" and one.mean == 0.05 and one.image_sd == pytest.approx(0.0101, abs=1e-4)
    assert [one.low, one.high, one.p_better, one.p_value, one.p_family, one.seed_sd, one.seeds_needed] == [None] * 7


def test_seeds_without_any_effect():
    """All seeds alike and no detections kept: there is nothing to measure a difference by, so no claim is made."""
    same = judged(np.zeros(3), [0.02] * 3)["arm 1"]
    assert same.verdict == "no evidence" and same.p_value is same.low is same.p_family is None and same.seed_sd == 0
    none = judged([0.1, 0.1], [0.1, 0.1])["arm 1"]
    assert (none.p_value, none.low, none.high, none.verdict, none.p_better) == (1, 0, 0, "no evidence", 0.5)


def test_seeds_that_one_of_the_two_lacks_do_not_count():
    found = Sample({"baseline": {0: 1.0, 1: 2.0}, "a": {1: 3.0, 2: 9.0}, "b": {5: 1.0}}, {"a": "baseline", "b": "a"})
    assert found.common("a") == [1] and found.common("b") == []
    assert list(judge_samples({"AP": found})["AP"]) == ["a"]


def test_probability_that_one_run_is_better():
    """By hand: draws of two seeds, 5 of 8 above 0 and one equal; without draws 2 of 3 runs."""
    drawn = np.array([[1.0, 1, -1, 0], [2, 3, 1, -1]])
    of = sample([0, 0], [0.1, 0.2], draws=[0 * drawn, drawn], images=9)
    assert of.p_better("arm 1") == pytest.approx(5.5 / 8)
    of.lower_is_better = True
    assert of.p_better("arm 1") == pytest.approx(2.5 / 8)
    assert sample([0, 0, 0], [1.0, -1.0, 2.0]).p_better("arm 1") == pytest.approx(2 / 3)


def test_draws_that_hold_no_such_object_and_images_that_seeds_do_not_share():
    rng = np.random.default_rng(5)
    drawn = np.tile(rng.normal(0, 1, 60), (2, 1))
    holes = drawn.copy()
    holes[0, :7] = np.nan
    of = sample([0, 0], [0, 0], draws=[0 * drawn, holes], images=11)
    assert of.image_covariance(["arm 1"])[0, 0] == pytest.approx(drawn[0, 7:].var(ddof=1) * 11 / 10)
    assert np.isnan(sample([0, 0], [0, 0], draws=[0 * drawn, np.nan * drawn]).image_covariance(["arm 1"])[0, 0])
    of.shared_images = False
    assert np.isnan(of.image_covariance(["arm 1"])[0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("name", NOISE)
def test_false_better_over_comparisons_of_four_arms_without_a_difference(name, sims=60, n=3, images=60):
    """0 lies in most intervals, and seldom an arm is found; the metric is the mean of a number per image."""
    training, shared, own = NOISE[name]
    rng, weights = np.random.default_rng(n), image_weights(images, 100) / images
    covered, false = [], 0
    for _ in range(sims):
        shape = (5, n, images)
        values = rng.normal(0, training**0.5, (5, n, 1)) + rng.normal(0, (own * images) ** 0.5, shape)
        values += rng.normal(0, (shared * images) ** 0.5, (5, 1, images))
        of = sample(*values.mean(axis=-1), draws=values @ weights, images=images)
        found = judge_samples({"AP": of, "AP50": of})
        covered += [one.low <= 0 <= one.high for one in found["AP50"].values()]
        false += any(one.verdict != "no evidence" for one in found["AP"].values())
    assert np.mean(covered) >= 0.9 and false <= 0.12 * sims, (np.mean(covered), false)


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


def test_a_difference_through_the_ap_bootstrap_is_measured(sims=16, n=2, images=50):
    """The standard error that the bootstrap finds is the spread of the difference over new images (within 35 %).

    AP of two arms is the same on average: each finds more in one half of all images.
    """
    rng, weights = np.random.default_rng([sims, n]), image_weights(images, 200)
    means, claimed = [], []
    for _ in range(sims):
        truth = small_truth(rng, images)
        liked = rng.choice([-0.25, 0.25], images)
        runs = [[small_detections(rng, truth, hard, 0.0) for _ in range(n)] for hard in (liked, -liked)]
        ranked = [[rank_detections(truth, run) for run in arm] for arm in runs]
        values = [[over_classes(run.metrics())["AP"][0] for run in arm] for arm in ranked]
        drawn = [[over_classes(run.metrics(weights))["AP"] for run in arm] for arm in ranked]
        with_objects = ranked[0][0].images_with_objects([0, 1])
        one = judged(*values, draws=np.array(drawn), images=with_objects)["arm 1"]
        means.append(one.mean)
        claimed.append(one.seed_sd**2 / n + one.image_sd**2)
    spread = np.std(means, ddof=1)
    assert np.sqrt(np.mean(claimed)) == pytest.approx(spread, rel=0.35) and spread > 0.01
