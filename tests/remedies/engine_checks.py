"""A remedy through the engine: a run that broke off and was resumed, and two processes.

`python -m tests.remedies.engine_checks OUTPUT REMEDY [key=value ...]` trains one; with several processes, each leaves
its weights in OUTPUT/rank{r}.pth.
"""

import sys
from pathlib import Path

import torch

from imbdet.config import load_config
from imbdet.engine import loop
from imbdet.engine.checkpoint import load_file
from imbdet.engine.log import read_metrics
from imbdet.modeling.detectors.base import Detector
from tests.helpers import run_two

SMALL = [
    "data.train.num_images=8",
    "data.val.num_images=2",
    "dataloader.train.batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.val.num_workers=0",
    "model.backbone.widths=[8, 16, 16, 16, 16]",
    "model.neck.channels=16",
    "model.roi_heads.box_head.widths=[32]",
    "train.max_iter=4",
    "train.log_period=1",
    "train.eval_period=0",
    "train.checkpointer.period=2",
    "train.tensorboard=false",
    "train.val_loss_batches=0",
    "train.val_pictures=0",
    "train.num_threads=1",
    "train.device=cpu",
]


def small_config(folder, remedy, words=()):
    return load_config("baselines/faster_rcnn_shapes", [remedy], [*SMALL, f"train.output_dir={folder}", *words])


def check_resume(folder, remedy, monkeypatch):
    """A run that dies in its third step and is resumed ends with the weights of one that does not."""
    loop.train(small_config(folder / "whole", remedy))
    plain, calls = Detector.forward, []

    def dies(self, images, targets=None):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("power cut")
        return plain(self, images, targets)

    with monkeypatch.context() as patch:
        patch.setattr(Detector, "forward", dies)
        try:
            loop.train(small_config(folder / "cut", remedy))
        except RuntimeError as error:
            assert "power cut" in str(error)
    assert load_file(folder / "cut" / "last.pth")["iteration"] == 2
    loop.train(small_config(folder / "cut", remedy), resume=True)
    whole, cut = (load_file(folder / name / "last.pth")["model"] for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(torch.equal(whole[name], cut[name]) for name in whole)


def check_two_processes(folder, remedy):
    """Replicas stay equal, and every parameter gets a gradient (DistributedDataParallel would complain)."""
    run_two(folder, remedy, module="tests.remedies.engine_checks")
    first, second = (torch.load(folder / f"rank{rank}.pth", weights_only=True) for rank in range(2))
    learned = [name for name in first if "running_" not in name]  # of batch norm, which each process keeps for itself
    assert all(torch.equal(first[name], second[name]) for name in learned)
    losses = [line["loss/total"] for line in read_metrics(folder / "metrics.jsonl") if "loss/total" in line]
    assert len(losses) == 4 and all(value < float("inf") for value in losses)


def _keep_weights(run, *args, finish=loop._finish):
    if run.world.size > 1:
        torch.save(run.model.state_dict(), Path(run.settings.output_dir) / f"rank{run.world.rank}.pth")
    return finish(run, *args)


if __name__ == "__main__":
    loop._finish = _keep_weights
    loop.train(small_config(sys.argv[1], sys.argv[2], sys.argv[3:]))
