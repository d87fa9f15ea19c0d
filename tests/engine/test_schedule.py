from types import SimpleNamespace

import pytest
import torch

from imbdet.engine.schedule import (
    CosineParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    Schedule,
    WarmupParamScheduler,
    epochs_to_iterations,
)
from imbdet.engine.summary import describe_warmup


def test_linear_warm_up_then_steps():
    """1x schedule of 90 steps with drops at 60 and 80 and a warm-up over 9 of them, from 0.1: 0.1 + 0.9 * k / 9."""
    steps = MultiStepParamScheduler(values=[1, 0.1, 0.01], milestones=[60, 80], num_updates=90)
    warm = WarmupParamScheduler(steps, warmup_factor=0.1, warmup_length=9 / 90)
    wanted = [0.1 + 0.9 * k / 9 for k in range(9)] + [1.0] * 51 + [0.1] * 20 + [0.01] * 10
    assert [warm(k / 90) for k in range(90)] == pytest.approx(wanted)


def test_constant_warm_up():
    warm = WarmupParamScheduler(LinearParamScheduler(1.0, 0.0), 0.5, 0.2, warmup_method="constant")
    assert [warm(w) for w in (0, 0.19, 0.2, 0.6)] == pytest.approx([0.5, 0.5, 0.8, 0.4])


def test_warm_up_meets_the_schedule_or_squeezes_it():
    cosine = CosineParamScheduler(1.0, 0.0)
    cut = WarmupParamScheduler(cosine, 0.0, 0.5)
    assert cut(0.25) == pytest.approx(0.5 * cosine(0.5)) and cut(0.75) == cosine(0.75)
    squeezed = WarmupParamScheduler(cosine, 0.0, 0.5, rescale_interval=True)
    assert squeezed(0.25) == pytest.approx(0.5) and squeezed(0.75) == cosine(0.5)


def test_length_in_iterations_equals_length_as_share():
    cosine = CosineParamScheduler(1.0, 0.0)
    share, count = WarmupParamScheduler(cosine, 0.1, 0.05), WarmupParamScheduler(cosine, 0.1, 30, num_updates=600)
    assert [share(k / 600) for k in range(600)] == [count(k / 600) for k in range(600)]


def test_warm_up_longer_than_the_run_never_ends():
    warm = WarmupParamScheduler(CosineParamScheduler(1.0, 0.0), 0.0, 1000, num_updates=2)
    assert [warm(0), warm(0.5)] == [0.0, 0.5]


@pytest.mark.parametrize("max_iter, said", [(150, True), (250, False)])
def test_a_warm_up_of_most_of_the_training_is_said(max_iter, said):
    """A warm-up of 100 iterations, kept for a run of 150, is two thirds of it."""
    multiplier = WarmupParamScheduler(CosineParamScheduler(1.0, 0.0), 0.0, 100, num_updates=max_iter)
    lines = []
    describe_warmup(SimpleNamespace(schedule=SimpleNamespace(multiplier=multiplier)), lines.append)
    assert [("67%" in line, "lr_multiplier.warmup_length" in line) for line in lines] == [(True, True)] * said


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="warmup_length is 1000.*num_updates"):
        WarmupParamScheduler(CosineParamScheduler(1.0, 0.0), 0.1, 1000)
    with pytest.raises(ValueError, match="'exponential'; use 'linear' or 'constant'"):
        WarmupParamScheduler(CosineParamScheduler(1.0, 0.0), 0.1, 0.1, "exponential")


def test_groups_keep_their_ratio():
    a, b = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [a], "lr": 0.2}, {"params": [b]}], lr=0.1)
    assert Schedule(optimizer, LinearParamScheduler(1.0, 0.0), max_iter=10).set(4) == pytest.approx(0.12)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.12, 0.06])


def test_epochs_to_iterations():
    assert epochs_to_iterations(12, num_images=205, batch_size=8) == 308  # 12 * 205 / 8 = 307.5, even
    assert epochs_to_iterations(0.001, 10, 8) == 1
