"""Trainings of a few steps: what a config costs, and what its first iterations report."""

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import torch
from omegaconf import DictConfig, open_dict

from ..evaluation.inference import predict
from ..runs import RunFolder
from .balance import box_over_cls
from .build import Run
from .distributed import world_of
from .loop import adversary_steps, due, report_of, step
from .progress import Clock
from .seed import set_threads
from .settings import read_settings
from .start import start_run
from .stop import StopRequest

WARM_UP, BATCHES = 2, 3  #: steps before the clock runs, batches of the evaluation that are timed


@contextlib.contextmanager
def begun(cfg: DictConfig, output: str) -> Iterator[Run]:
    """Begin a run of `cfg` in the folder `output`, before its first step."""
    with open_dict(cfg.train):
        cfg.train.output_dir, cfg.train.overwrite = output, True
        cfg.train.tensorboard, cfg.train.loggers = False, []
    settings = read_settings(cfg)
    set_threads(settings.num_threads)
    with world_of(settings.device) as world:
        run, _ = start_run(cfg, settings, world, StopRequest(), resume=False)
        with run:
            yield run


def first_reports(cfg: DictConfig, n: int, last: int) -> list[dict[str, Any]]:
    """Train `cfg` for n iterations in a folder that is removed; what each of the `last` ones of these reports.

    The scalars are those that the run itself logs on the iterations that report, and the ratio of the gradients of box
    and classification loss (`balance/box_over_cls`) on all others.
    """
    reports = []
    with tempfile.TemporaryDirectory() as folder, begun(cfg, folder) as run:
        batches, clock = run.batches(0), Clock()
        for iteration in range(1, n + 1):
            adversary_steps(run, batches, clock, iteration - 1)
            # the windows of the losses are read when they are due in a run, so that the reports are the run's
            reads = due(iteration, run.settings.log_period, run.settings.max_iter)
            wanted = iteration > n - last
            stats, norms = step(run, batches, clock, iteration, reads or wanted)
            if reads:
                line = report_of(run, run, clock, stats, norms)[0]
            elif wanted:
                line = box_over_cls({name: float(norm) for name, norm in norms.items()})
            if wanted:
                reports.append({"iteration": iteration, **line})
    return reports


def measure(cfg: DictConfig, output: str, steps: int, seconds: float = float("inf")) -> dict[str, Any]:
    """Measure a few steps and batches of `cfg`, in the folder `output`; no step begins after so many seconds.

    Returns:
        begin_seconds (until the first step), step_seconds (median), evaluation_seconds (of the whole validation set,
        without the metrics), state_bytes (of last.pth), weights_bytes (of best.pth), threads, device, images, batch,
        data {split: fingerprint}, versions.
    """
    began = time.perf_counter()
    with begun(cfg, output) as run:
        begin = time.perf_counter() - began
        times = _time_steps(run, steps, seconds)
        evaluation = _time_evaluation(run)
        state = run.state(1)
    environment = RunFolder(output).environment()
    splits = {"train": run.train_records, "val": run.val_records}
    return {
        "begin_seconds": begin,
        "step_seconds": statistics.median(times),
        "evaluation_seconds": evaluation,
        "state_bytes": tensor_bytes(state),
        "weights_bytes": tensor_bytes(state["model"]),
        "device": str(run.device),
        "processor": environment["gpu"] or environment["processor"],
        "threads": environment["threads"],
        "data": environment["data"],
        "versions": environment["packages"],
        "images": {name: len(records) for name, records in splits.items() if records is not None},
        "batch": int(cfg.dataloader.train.get("batch_size", 0)) * run.settings.accumulate,
    }


def _time_steps(run: Run, steps: int, limit: float) -> list[float]:
    """Seconds of each step, the first of which warm up; of one at least, however slow."""
    batches, clock, seconds = run.batches(0), Clock(), []
    for iteration in range(1, WARM_UP + steps + 1):
        if iteration > WARM_UP + 1 and sum(seconds) > limit:
            break
        before = time.perf_counter()
        step(run, batches, clock, iteration, reports=False)
        if run.device.type == "cuda":
            torch.cuda.synchronize(run.device)
        seconds.append(time.perf_counter() - before)
    return seconds[WARM_UP:]


def _time_evaluation(run: Run) -> float:
    """Seconds of an evaluation, from a few batches; 0 without a validation set."""
    if not run.has_val:
        return 0.0
    batches = list(itertools.islice(iter(run.val_loader), BATCHES))
    predict(run.model, batches[:1], progress=False)
    before = time.perf_counter()
    predict(run.model, batches, progress=False)
    return (time.perf_counter() - before) * len(run.val_loader) / len(batches)


def tensor_bytes(value: Any) -> int:
    """Return the bytes of all tensors in nested containers: what a checkpoint of them takes, but for a few kB."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(tensor_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(tensor_bytes, value))
    return 0
