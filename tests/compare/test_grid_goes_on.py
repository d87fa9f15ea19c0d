"""A grid that is killed half-way goes on, with processes here and with Ray; test_run.py has what needs no training."""

import json
import os
import time

import pytest
import torch

from imbdet.commands import run
from imbdet.compare.executors import Process
from imbdet.compare.results import locked, read_plan, read_results
from imbdet.compare.structures import cell_config
from imbdet.engine import train
from imbdet.engine.checkpoint import load_file

from .conftest import COST, tiny


def words(root, *more):
    """2 arms x 2 seeds, slow as long as there is a file `hold`."""
    grid = ["--remedy", "focal_loss", "--seeds", "2", "--no-controls"]
    pause = f"dataloader.train.augment={{_target_: tests.compare.slow.PauseWhile, path: {root / 'hold'}}}"
    return ["--config", tiny(), *grid, "--out", str(root), *more, pause]


def lead(argv):
    raise SystemExit(run("compare", argv))


def iteration(folder):
    try:
        return load_file(folder / "last.pth")["iteration"]
    except (OSError, ValueError):
        return 0


def kill_half_way(root, *more):
    """Lead the grid in another process; kill -9 it when the second cell has a checkpoint, and let that cell end."""
    root.mkdir()
    (root / "probe.json").write_text(json.dumps(COST))  # probing is tested elsewhere
    leader = Process(lead, (words(root, *more),), root / "leader.txt", {"HOME": os.environ["HOME"]})
    half = root / "runs" / "focal_loss" / "seed_0"
    deadline = time.monotonic() + 240
    while iteration(half) < 5:
        assert leader.exitcode is None and time.monotonic() < deadline, (root / "leader.txt").read_text()
        if (root / "results.jsonl").exists():
            (root / "hold").touch()
        time.sleep(0.01)
    leader.kill()
    assert leader.exitcode == -9
    with locked(half / ".lock", 60, "the run did not notice that its leader is gone"):
        assert 5 <= iteration(half) < 20
    (root / "hold").unlink()
    return half


def check_that_it_goes_on(root, half, reports, *more):
    first = root / "runs" / "baseline" / "seed_0"
    assert [(r.arm, r.seed) for r in read_results(root)] == [("baseline", 0)]
    before = (first / "last.pth").stat().st_mtime_ns
    assert run("compare", words(root, *more)) == 0
    records = read_results(root)
    assert sorted((r.arm, r.seed) for r in records) == [(a, s) for a in ("baseline", "focal_loss") for s in (0, 1)]
    assert all(r.status == "finished" and r.cost["iterations"] == 20 for r in records)
    assert (first / "last.pth").stat().st_mtime_ns == before  # what was finished was kept
    log = (half / "log.txt").read_text()
    assert "stopped after iteration" in log and "continuing after iteration" in log
    assert len(reports) == 1 and reports[0][1] == records
    return records


def assert_undisturbed(root, half, tmp_path):
    """The interrupted run ends with the weights of one to which nothing happened."""
    plan = read_plan(root)
    cfg = cell_config(plan, plan.arm("focal_loss"), 0, root)
    cfg.train.init_shared = str(root / "init" / "seed_0.pth")
    cfg.train.output_dir = str(tmp_path / "whole")
    train(cfg)
    whole, resumed = load_file(tmp_path / "whole" / "last.pth")["model"], load_file(half / "last.pth")["model"]
    assert whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_killed_here(tmp_path, reports, capsys):
    root = tmp_path / "grid"
    half = kill_half_way(root)
    check_that_it_goes_on(root, half, reports, "--jobs", "2")
    out = capsys.readouterr().out
    assert "runs: 4, of which 1 are done and 1 are half done" in out and "[4/4]" in out and "no evidence" in out
    assert_undisturbed(root, half, tmp_path)
    assert run("compare", words(root)) == 0  # again: nothing is left to run
    assert "nothing is left to run" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_under_ray(tmp_path, reports, capsys, monkeypatch):
    """On a cluster of this machine; Ray's own processes end with the leader that began them."""
    pytest.importorskip("ray")
    monkeypatch.setenv("HOME", str(tmp_path))  # where Ray keeps the token of a cluster
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    root = tmp_path / "grid"
    half = kill_half_way(root, "--engine", "ray", "--jobs", "1")
    check_that_it_goes_on(root, half, reports, "--engine", "ray", "--jobs", "2")
    assert_undisturbed(root, half, tmp_path)
