"""Loggers: each gets the same numbers, one that fails is left out, unknown and missing ones are named; the real ones
offline.
"""

import sys
import types

import pytest
import torch

from imbdet.engine import loggers
from imbdet.engine.log import RunLog, read_metrics


class Kept(loggers.Logger):
    made = []

    def __init__(self, folder, start, config):
        self.folder, self.start, self.config, self.got = folder, start, config, []
        Kept.made.append(self)

    def write(self, iteration, split, scalars, histograms):
        self.got.append((iteration, split, dict(scalars), list(histograms)))

    def close(self):
        self.got.append("closed")


class Broken(loggers.Logger):
    def write(self, *report):
        raise ConnectionError("no network")


@pytest.fixture
def known(monkeypatch):
    Kept.made.clear()
    monkeypatch.setitem(loggers.LOGGERS, "kept", (Kept, "kept"))
    monkeypatch.setitem(loggers.LOGGERS, "broken", (Broken, "broken"))


def reports(log):
    log.write(1, "train", {"loss/total": 2.0, "AP/APl": float("nan")}, {"iou": {"edges": [0, 1], "counts": [3]}})
    log.write(2, "val", {"AP/AP": 0.5})


def test_all_get_the_finite_numbers_and_a_broken_one_is_left_out(tmp_path, known):
    log = RunLog(tmp_path, tensorboard=False, loggers=["broken", "kept"], config={"a": 1})
    with pytest.warns(UserWarning, match="Broken gets no more reports: no network; metrics.jsonl holds all"):
        reports(log)
    log.close()
    (kept,) = Kept.made
    assert (kept.folder, kept.start, kept.config) == (tmp_path, 0, {"a": 1})
    assert kept.got == [(1, "train", {"loss/total": 2.0}, ["iou"]), (2, "val", {"AP/AP": 0.5}, []), "closed"]
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 2


def test_unknown_and_missing_ones(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="train.loggers names 'wandb1'; there are tensorboard, wandb, mlflow"):
        RunLog(tmp_path, loggers=["wandb1"])
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"names wandb: .*pip install 'imbdet\[wandb\]'"):
        RunLog(tmp_path, tensorboard=False, loggers=["wandb"])


def test_weights_and_biases_goes_on_in_the_same_run(tmp_path, monkeypatch):
    class Run:
        def __init__(self, **arguments):
            self.id, self.arguments, self.logged = arguments["id"] or "abc", arguments, []
            runs.append(self)

        def define_metric(self, *names, **settings): ...

        def log(self, values):
            self.logged.append(values)

        def finish(self):
            self.logged.append("finished")

    runs = []
    fake = types.SimpleNamespace(init=lambda **arguments: Run(**arguments), Image=lambda array: array.shape)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for start in (0, 1):
        log = RunLog(tmp_path, start, tensorboard=False, loggers=["wandb"])
        reports(log)
        log.pictures(2, "val", {"pictures/7": lambda: torch.zeros(3, 4, 8, dtype=torch.uint8)})
        log.close()
    assert [run.arguments["id"] for run in runs] == [None, "abc"]
    assert runs[0].logged == [
        {"iteration": 1, "train/loss/total": 2.0},
        {"iteration": 2, "val/AP/AP": 0.5},
        {"iteration": 2, "val/pictures/7": (4, 8, 3)},
        "finished",
    ]


@pytest.mark.slow
def test_the_real_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log = RunLog(tmp_path, tensorboard=False, loggers=["wandb"], config={"train": {"seed": 0}})
    reports(log)
    log.close()
    assert len(log.loggers) == 1 and list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.slow
def test_the_real_mlflow_in_a_file(tmp_path, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    pytest.importorskip("sqlalchemy")
    log = RunLog(tmp_path, tensorboard=False, loggers=["mlflow"], config={"train": {"seed": 0}})
    reports(log)
    log.close()
    client = tracking.MlflowClient()
    run = client.get_run(log.loggers[0].id)
    assert run.data.metrics == {"train/loss/total": 2.0, "val/AP/AP": 0.5} and run.data.params == {"train.seed": "0"}
    assert run.info.status == "FINISHED"
