"""What tests of several folders share: a criterion and regions of three classes, and what watches a step.

Letters: R regions, K classes.
"""

import functools
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from imbdet import testing
from imbdet.config import load_config, shipped_configs, slots_of
from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.criterion import Criterion
from imbdet.modeling.defaults import AllRegions, Considered, SmoothL1, SoftmaxCrossEntropy, ThresholdMatcher
from imbdet.modeling.preprocess import pad_objects

K = 3
SHAPES = [name for name in shipped_configs("baselines") if name.endswith("_shapes")]
#: overrides that make a shapes baseline quick to build and to train
SMALL = [
    "data.train.num_images=12",
    "data.train.image_size=96",
    "dataloader.train.batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.train.cache_bytes=0",
    "model.backbone.widths=[8,8,16,16,16]",
    "model.neck.channels=16",
]
ROOT = Path(__file__).resolve().parent.parent


@functools.cache
def load(baseline: str, remedy: str = ""):
    """A config, shared by the tests, so only to be read; each takes a sixth of a second to load."""
    return load_config(baseline, [remedy] if remedy else [])


@functools.cache
def slots_there(baseline):
    """{slot: (config key, what fills it)} of a baseline."""
    return slots_of(load(baseline))


def fitting(entry) -> list[str]:
    """The shapes baselines that take the remedy."""
    return [name for name in SHAPES if entry.fits(name, slots_there(name))]


def regions(labels, **given):
    """Matched regions of K classes; see `imbdet.testing.regions`."""
    return testing.regions(labels, K, **given)


def criterion(classification=None, normalizer=None, **more):
    """The criterion of an RoI head of K classes, with L1, that takes all regions."""
    parts = {
        "matcher": ThresholdMatcher(),
        "region_sampler": AllRegions(),
        "classification": classification or SoftmaxCrossEntropy(),
        "regression": SmoothL1(0.0),
        "normalizer": normalizer or Considered(),
        "box_coder": BoxCoder((10, 10, 5, 5)),
        "num_classes": K,
    }
    return Criterion(**{**parts, **more})


class Waits(TorchDispatchMode):
    """Names the operators whose value or size the host would have to wait for on a GPU."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "is_nonzero", "equal")

    def __enter__(self):
        self.found = []
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split(".")[0]
        by_mask = name.startswith("index") and len(args) > 1 and isinstance(args[1], (list, tuple))
        if name in self.NAMES or (by_mask and any(getattr(i, "dtype", None) is torch.bool for i in args[1])):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def run_two(folder, *words, module="tests.engine", timeout=120):
    """What torch.distributed.run would start, without its own start-up time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(folder), *words],
            cwd=ROOT,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    return outputs


def objects_of(*counts, classes=K):
    """As many random objects as asked for each image: targets, and the same padded."""
    targets = [{"boxes": testing.random_boxes(m, seed=m + 5), "labels": torch.arange(m) % classes} for m in counts]
    return targets, pad_objects(targets, torch.device("cpu"), classes)
