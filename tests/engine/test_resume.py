"""A run that is killed or stopped and continued equals one that was not, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imbdet.engine import train
from imbdet.engine.checkpoint import load_file
from imbdet.engine.log import read_metrics

from .fakes import FakeDetector, compare, fake_config, numbers

ROOT = Path(__file__).resolve().parents[2]
PAUSE = "dataloader.train.pause=0.1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    train(fake_config(folder))
    return folder


def start_and_signal(folder, signum, after):
    """Train in another process, send the signal once `after` iterations were reported; its exit code and output."""
    command = [sys.executable, "-m", "tests.engine", str(folder), PAUSE]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        path = folder / "metrics.jsonl"
        if path.exists() and any(line["iteration"] >= after for line in read_metrics(path)):
            os.kill(process.pid, signum)
            break
        time.sleep(0.02)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def assert_same_run(folder, whole):
    a, b = load_file(folder / "last.pth"), load_file(whole / "last.pth")
    for part in ("model", "optimizer", "ema", "rng", "best", "iteration"):
        compare(a[part], b[part], part)
    assert numbers(folder) == numbers(whole)


@pytest.mark.slow
def test_kill_minus_nine(tmp_path, whole):
    code, output = start_and_signal(tmp_path, signal.SIGKILL, after=6)
    assert code == -signal.SIGKILL, output
    assert load_file(tmp_path / "last.pth")["iteration"] == 4
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["iteration"] >= 6  # the reports ran ahead of the checkpoint
    train(fake_config(tmp_path, PAUSE), resume=True)
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_step(tmp_path, whole, monkeypatch, signum, capsys):
    """In the fifth step, in the middle of a report's window."""
    plain, calls, handler = FakeDetector.forward, [], signal.getsignal(signum)

    def forward(self, images, targets=None):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signum)
        return plain(self, images, targets)

    monkeypatch.setattr(FakeDetector, "forward", forward)
    with pytest.raises(SystemExit) as stopped:
        train(fake_config(tmp_path))
    assert stopped.value.code == 128 + signum
    assert "stopped after iteration 5" in capsys.readouterr().out
    assert load_file(tmp_path / "last.pth")["iteration"] == 5
    assert signal.getsignal(signum) == handler
    monkeypatch.undo()
    train(fake_config(tmp_path), resume=True)
    assert_same_run(tmp_path, whole)


@pytest.mark.slow
def test_sigterm_writes_a_checkpoint_and_leaves(tmp_path, whole):
    code, output = start_and_signal(tmp_path, signal.SIGTERM, after=2)
    assert code == 143 and "stopped after iteration" in output and "Traceback" not in output, output
    assert 2 <= load_file(tmp_path / "last.pth")["iteration"] < 12
    train(fake_config(tmp_path, PAUSE), resume=True)
    assert_same_run(tmp_path, whole)


def test_a_damaged_checkpoint_costs_a_period_and_no_more(tmp_path, whole):
    """From last_prev.pth on, the steps after it are done again and come out the same."""
    train(fake_config(tmp_path))
    last = tmp_path / "last.pth"
    last.write_bytes(last.read_bytes()[:5000])
    with pytest.warns(UserWarning, match="continuing from last_prev.pth, iteration 8"):
        train(fake_config(tmp_path), resume=True)
    assert_same_run(tmp_path, whole)
