"""train.time: texts, iterations by hand, the schedule knows the length, a resumed run keeps it, refusals."""

import pytest

from imbdet.engine import budget
from imbdet.engine.budget import iterations_in, seconds_of, with_length
from imbdet.testing import tiny_config


@pytest.mark.parametrize(("text", "seconds"), [("30m", 1800), ("1h30m", 5400), ("90s", 90), ("90", 90), ("0.5h", 1800)])
def test_times(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "30 m", "3x", "-5m", "m30"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="give a time such as 30m"):
        seconds_of(text)


def test_iterations_by_hand():
    """100 s, 0.5 s a step, 10 s an evaluation: (100 - 10) / 0.5 = 180; every 50 steps 0.7 s a step, 90 / 0.7 = 128."""
    assert iterations_in(100, 0.5, 10, 0) == 180 and iterations_in(100, 0.5, 10, 50) == 128
    assert iterations_in(5, 0.5, 10, 0) == 0


def measured(monkeypatch, step=0.5, evaluation=0.0):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    found = {"begin_seconds": 0.0, "step_seconds": step, "evaluation_seconds": evaluation}
    monkeypatch.setattr(budget, "measure", lambda cfg, place, steps, seconds: found)


def test_the_config_gets_the_length_and_its_schedule_with_it(monkeypatch, tmp_path):
    measured(monkeypatch)
    cfg = tiny_config("retinanet", overrides=["train.time=100s", f"train.output_dir={tmp_path}", "train.eval_period=0"])
    before = cfg.train.max_iter
    found = with_length(cfg, say=lambda text: None)
    assert found.train.max_iter in (189, 190) and cfg.train.max_iter == before  # 0.95 * 100 s / 0.5 s
    assert found.lr_multiplier.num_updates == found.train.max_iter
    (tmp_path / "config.yaml").write_text("train: {max_iter: 77}\n")
    assert with_length(cfg, resume=True).train.max_iter == 77
    plain = tiny_config("retinanet")
    assert with_length(plain) is plain


def test_too_short_and_several_processes(monkeypatch, tmp_path):
    measured(monkeypatch, step=200)
    cfg = tiny_config("retinanet", overrides=["train.time=100s", f"train.output_dir={tmp_path}"])
    with pytest.raises(ValueError, match="train.time=100s is too short: beginning takes 0.0 s.* a step 200.000 s"):
        with_length(cfg)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="with several give train.max_iter"):
        with_length(cfg)


def test_slow_steps_are_timed_once(monkeypatch):
    """20 steps are asked for: two warm up, one is timed, and by then a second has passed; else all are timed."""
    from types import SimpleNamespace

    from imbdet.engine import short

    run = SimpleNamespace(batches=lambda start: None, device=SimpleNamespace(type="cpu"))
    done, now = [], [0.0]

    def step(run, batches, clock, iteration, reports):
        done.append(iteration)
        now[0] += 2.0

    monkeypatch.setattr(short, "step", step)
    monkeypatch.setattr(short, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    assert short._time_steps(run, 20, 1.0) == [2.0] and done == [1, 2, 3]
    assert len(short._time_steps(run, 20, float("inf"))) == 20
