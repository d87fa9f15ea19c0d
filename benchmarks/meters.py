"""What the meters and the log cost: the same steps with and without them, in turns, in one process.

A block is `train.log_period` steps and, on the one side, all that the loop does for a report: keeping and checking the
losses, gradient norm, scalars, histograms, metrics.jsonl, TensorBoard, the printed line. Batches are made beforehand,
so the loader has no part in it. On a CPU the time is that of the processor, all threads together, which other work on
the machine disturbs less than the wall clock's.
"""

import contextlib
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from omegaconf import OmegaConf

from imbdet.engine.build import Run
from imbdet.engine.distributed import world_of
from imbdet.engine.loop import report_of
from imbdet.engine.loop import step as train_step
from imbdet.engine.progress import Clock
from imbdet.engine.run_folder import plain
from imbdet.engine.seed import set_threads
from imbdet.engine.settings import read_settings
from imbdet.engine.start import start_run
from imbdet.engine.stop import StopRequest


class _NoWindow:
    """Forgets the losses."""

    def add(self, *args: Any) -> None: ...


class _TimedWindow:
    """Keeps the losses in the run's own window and counts the seconds that takes."""

    def __init__(self, window: Any, now: Callable[[], float]):
        self.window, self.now, self.seconds = window, now, 0.0

    def add(self, *args: Any) -> None:
        before = self.now()
        self.window.add(*args)
        self.seconds += self.now() - before


def benchmark_meters(cfg: Any, rounds: int = 5, warm_up: int = 3) -> dict[str, float]:
    """Time blocks of steps with a report and without, alternately.

    Args:
        cfg: a config; its run folder is not touched. rounds: pairs of blocks. warm_up: steps before the first.

    Returns:
        with, without: median seconds a step. overhead: median of the ratios of the pairs, minus 1; as noisy as the
        machine. meters: median seconds spent in the meters and the log themselves in a block (all but the norm of the
        gradient). share: of the time of a block without, which is the steadier figure.
    """
    cfg = OmegaConf.create(plain(cfg))
    settings = read_settings(cfg)
    threads = set_threads(settings.num_threads)
    try:
        with tempfile.TemporaryDirectory() as folder, world_of(settings.device) as world:
            cfg.train.output_dir, cfg.train.init_checkpoint = folder, ""
            settings = read_settings(cfg)
            with contextlib.redirect_stdout(io.StringIO()):
                run, _ = start_run(cfg, settings, world, StopRequest(), resume=False)
                with run:
                    return _compare(run, rounds, warm_up)
    finally:
        set_threads(threads)


def _compare(run: Run, rounds: int, warm_up: int) -> dict[str, float]:
    period = run.settings.log_period
    batches = list(itertools.islice(run.batches(0), period * run.settings.accumulate))
    now = time.process_time if run.device.type == "cpu" else time.perf_counter
    _block(run, batches, warm_up, None, now)
    pairs, reports = [], []
    for number in range(rounds):
        kinds = ("with", "without") if number % 2 else ("without", "with")
        seconds = {kind: _block(run, batches, period, reports if kind == "with" else None, now) for kind in kinds}
        pairs.append((seconds["with"], seconds["without"]))
    without = statistics.median(b for _, b in pairs)
    return {
        "with": statistics.median(a for a, _ in pairs) / period,
        "without": without / period,
        "overhead": statistics.median(a / b for a, b in pairs) - 1,
        "meters": statistics.median(reports),
        "share": statistics.median(reports) / without,
    }


def _block(run: Run, batches: list, steps: int, reports: list[float] | None, now: Callable[[], float]) -> float:
    """Seconds of `steps` steps; if `reports` is a list, with a report at their end, whose own seconds are appended."""
    window, clock, source = run.window, Clock(), itertools.cycle(batches)
    run.window = _TimedWindow(window, now) if reports is not None else _NoWindow()
    began = now()
    for step in range(1, steps + 1):
        stats, norms = train_step(run, source, clock, 1, reports=reports is not None and step == steps)
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)
    if reports is not None:
        spent, before = run.window.seconds, now()
        run.window = window
        scalars, histograms = report_of(run, run, clock, stats, norms)
        run.log.write(len(reports) + 1, "train", scalars, histograms)
        run.progress.report(1, scalars)
        reports.append(spent + now() - before)
    run.window = window
    return now() - began
