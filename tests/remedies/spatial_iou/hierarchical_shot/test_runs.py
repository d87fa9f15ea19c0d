"""Whole runs on a few pictures: resumed after a power cut, and on two processes with Gloo."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from imbdet.config import load_config
from imbdet.engine import train
from imbdet.engine.checkpoint import load_file
from tests.remedies.spatial_iou.hierarchical_shot.cases import BASE, SMALL, build

ROOT = Path(__file__).resolve().parents[4]


def run_config(folder, *words):
    """A run of seconds on small pictures of the shapes set."""
    sizes = ["data.train.num_images=8", "data.val.num_images=2", "dataloader.train.batch_size=4"]
    sizes += ["dataloader.train.num_workers=0", "dataloader.val.num_workers=0", f"train.output_dir={folder}"]
    steps = ["train.max_iter=4", "train.checkpointer.period=2", "train.log_period=1", "train.eval_period=0"]
    quiet = ["train.device=cpu", "train.num_threads=1", "train.tensorboard=false", "train.val_pictures=0"]
    return [*SMALL, *sizes, *steps, *quiet, "train.val_loss_batches=0", *words]


@pytest.mark.slow
def test_a_resumed_run_equals_one_that_was_not_stopped(tmp_path, monkeypatch):
    def config(name):
        return load_config(BASE, ["hierarchical_shot"], run_config(tmp_path / name))

    train(config("whole"))
    kind = "imbdet.remedies.spatial_iou.hierarchical_shot.HierarchicalShotDetector.losses"
    calls, plain = [], type(build()).losses

    def stopped(self, *args):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("power cut")
        return plain(self, *args)

    monkeypatch.setattr(kind, stopped)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config("cut"))
    monkeypatch.undo()
    assert load_file(tmp_path / "cut" / "last.pth")["iteration"] == 2
    train(config("cut"), resume=True)
    a, b = (load_file(tmp_path / name / "last.pth")["model"] for name in ("cut", "whole"))
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [(), ("model.shift=false",)], ids=str)
def test_two_processes(tmp_path, variant):
    """DistributedDataParallel over Gloo refuses the second step if a parameter had no gradient in the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    words = ["--config", BASE, "--remedy", "hierarchical_shot", *run_config(tmp_path / "two", *variant)]
    processes = [
        subprocess.Popen(
            [sys.executable, "tools/train.py", *words],
            cwd=ROOT,
            env={**common, "PYTHONPATH": str(ROOT), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    assert "2 processes" in outputs[0]
    state = load_file(tmp_path / "two" / "last.pth")
    assert state["iteration"] == 4 and all(torch.isfinite(v).all() for v in state["model"].values())
