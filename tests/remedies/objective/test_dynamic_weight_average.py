"""Dynamic weight average: neutral, by hand, periods in a loop, several batches a step, and the mechanism."""

import math

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.remedies.objective.dynamic_weight_average import DynamicWeightAverage

from ._cases import step

TWO = ("loss_cls", "loss_box_reg")


def run(weigh, *values):
    """One step of these two losses -> their factors."""
    losses = step(*values, names=TWO)
    weighted, _ = weigh(losses)
    weigh.end_step()
    return [(weighted[name] / losses[name]).item() for name in TWO]


def test_neutral_in_the_first_two_periods_and_at_infinite_temperature():
    weigh = DynamicWeightAverage(TWO, period=2)
    assert all(run(weigh, 4 - i, 1) == [1, 1] for i in range(4))
    weigh = DynamicWeightAverage(TWO, period=1, temperature=math.inf)
    assert all(run(weigh, 4 - i, 1) == [1, 1] for i in range(4))


def test_by_hand():
    """Period 1: losses 4, 1 then 2, 1: r = 1/2 and 1, weights 2 e^(1/4) / (e^(1/4) + e^(1/2)) and the rest of 2."""
    weigh = DynamicWeightAverage(TWO, period=1, temperature=2)
    run(weigh, 4, 1), run(weigh, 2, 1)
    first = 2 * math.exp(0.25) / (math.exp(0.25) + math.exp(0.5))
    assert run(weigh, 9, 9) == pytest.approx([first, 2 - first])


def test_periods_against_a_loop():
    weigh, history = DynamicWeightAverage(TWO, period=3, temperature=1), []
    g = torch.Generator().manual_seed(0)
    for t in range(11):
        values = (torch.rand(2, generator=g) + 0.1).tolist()
        means = [[sum(row[i] for row in history[s : s + 3]) / 3 for i in (0, 1)] for s in range(0, t - 2, 3)]
        want = [1.0, 1.0]
        if len(means) >= 2:
            e = [math.exp(means[-1][i] / means[-2][i]) for i in (0, 1)]
            want = [2 * v / sum(e) for v in e]
        assert run(weigh, *values) == pytest.approx(want, rel=1e-5)
        history.append(values)


def test_a_step_counts_the_mean_of_its_batches():
    weigh = DynamicWeightAverage(TWO, period=1)
    for value in (1.0, 3.0):
        weigh(step(value, 1, names=TWO))
    weigh.end_step()
    assert weigh.means[1].tolist() == [2, 1] and weigh.steps == 1


def test_mechanism_the_loss_that_stands_still_gains():
    weigh = DynamicWeightAverage(TWO, period=1, temperature=0.5)
    run(weigh, 4, 1), run(weigh, 1, 1)
    falling, still = run(weigh, 1, 1)
    assert still > 1.5 > falling and falling + still == pytest.approx(2)


def test_no_objects_and_losses_of_other_names():
    weigh = DynamicWeightAverage(TWO, period=1)
    run(weigh, 1, 1), run(weigh, 1, 1e-9)
    weighted, _ = weigh(step(1.0, 0.0, 7.0, names=(*TWO, "dropout")))
    assert weighted["dropout"] == 7 and torch.isfinite(sum(weighted.values()))


def test_a_period_is_a_tenth_of_the_training():
    cfg = load_config("baselines/retinanet_shapes", ["dynamic_weight_average"], ["train.max_iter=430"])
    assert instantiate(cfg.model.objective).period == 43
    with pytest.raises(ValueError, match="period"):
        DynamicWeightAverage(TWO, period=0)
