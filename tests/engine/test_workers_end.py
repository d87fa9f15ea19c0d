"""A run with loader workers ends when it is told to, or when it fails: nobody waits for a worker that cannot hear."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "tools/train.py", "--config", "baselines/retinanet_shapes", "dataloader.train.num_workers=1"]
SMALL = ["data.train.num_images=40", "data.val.num_images=8", "train.tensorboard=false", "train.num_threads=1"]


def start(folder, *more):
    words = [*COMMAND, *SMALL, f"train.output_dir={folder}", *more]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_sigterm_to_the_main_process_only(tmp_path):
    run = start(tmp_path / "run", "train.log_period=1", "train.max_iter=100000")
    while "/100000" not in run.stdout.readline():
        assert run.poll() is None
    os.kill(run.pid, signal.SIGTERM)
    begin = time.monotonic()
    text = run.communicate(timeout=60)[0]
    assert run.returncode == 143 and "--resume" in text
    assert time.monotonic() - begin < 30  # without the repair it waits for ever


@pytest.mark.slow
def test_a_loss_that_is_not_finite(tmp_path):
    run = start(tmp_path / "run", "optimizer.lr=1e30", "train.clip_grad.max_norm=0", "train.max_iter=50")
    text = run.communicate(timeout=60)[0]
    assert run.returncode == 2 and "not finite" in text and "image" in text
