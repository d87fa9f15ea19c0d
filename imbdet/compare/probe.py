"""A short probe of a config: what a step, an evaluation and a checkpoint cost, before a grid of hundreds is begun."""

import itertools
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from .configs import ITERATIONS, arm_config
from .grid import with_time_budget
from .process import Process
from .store import arm_of
from .structures import BASELINE, Arm, Plan

PROBE = "probe.json"
WARM_UP, BATCHES = 2, 3  #: steps before the clock runs, batches of the evaluation that are timed
STEPS = {"iterations": 6, "time": 20}  #: steps timed; a time budget rests on them


def costs(plan: Plan, root: Path) -> tuple[Plan, dict[str, Any]]:
    """What the baseline costs, by a probe or by the one that `root` holds; under a time budget, the plan with the
    iterations of each new arm.

    Raises:
        ValueError: an arm cannot even begin to train.
    """
    new = [arm.name for arm in plan.arms if arm.name != BASELINE and not arm.control_of and not _has_length(arm)]
    fresh = bool(new) and plan.budget == "time"
    cost = None if fresh else _kept(root)
    with tempfile.TemporaryDirectory() as folder:
        if cost is None:
            cost = {"machine": platform.node(), **probe(plan, BASELINE, Path(folder))}
        if fresh:
            pace = {name: probe(plan, name, Path(folder))["step_seconds"] for name in new}
            plan = with_time_budget(plan, {BASELINE: cost["step_seconds"], **pace})
    return plan, cost


def _has_length(arm: Arm) -> bool:
    return any(word.startswith(f"{ITERATIONS}=") for word in arm.overrides)


def _kept(root: Path) -> dict[str, Any] | None:
    """The probe of an earlier command on this machine."""
    try:
        cost = json.loads((root / PROBE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return cost if cost.get("machine") == platform.node() else None


def probe(plan: Plan, arm: str, folder: Path) -> dict[str, Any]:
    """Measure an arm in a process of its own; see `measure`. folder: for its log and what the run writes.

    Raises:
        ValueError: the arm cannot even begin to train; with what was said.
    """
    process = Process(measure_arm, (plan, arm, str(folder / "run")), folder / "probe.txt")
    try:
        return process.answer()
    except RuntimeError as error:
        raise ValueError(f"the first steps of {arm} failed: {error}") from error
    finally:
        process.kill()


def measure_arm(plan: Plan, arm: str, output: str) -> dict[str, Any]:
    return measure(arm_config(plan, arm_of(plan, arm)), output, STEPS[plan.budget])


def measure(cfg: DictConfig, output: str, steps: int) -> dict[str, Any]:
    """A few steps and batches of `cfg`, in the folder `output`.

    Returns:
        begin_seconds (until the first step), step_seconds (median), evaluation_seconds (of the whole validation set,
        without the metrics), state_bytes (of last.pth), weights_bytes (of best.pth), threads, device, images, batch,
        data {split: fingerprint}, versions.
    """
    from ..engine.distributed import world_of
    from ..engine.seed import set_threads
    from ..engine.settings import read_settings
    from ..engine.start import start_run
    from ..engine.stop import StopRequest

    with open_dict(cfg.train):
        cfg.train.output_dir, cfg.train.overwrite, cfg.train.tensorboard = output, True, False
    settings = read_settings(cfg)
    set_threads(settings.num_threads)
    began = time.perf_counter()
    with world_of(settings.device) as world:
        run, _ = start_run(cfg, settings, world, StopRequest(), resume=False)
        with run:
            begin = time.perf_counter() - began
            seconds = _time_steps(run, steps)
            evaluation = _time_evaluation(run)
            state = run.state(1)
    environment = json.loads((Path(output) / "environment.json").read_text(encoding="utf-8"))
    return {
        "begin_seconds": begin,
        "step_seconds": statistics.median(seconds),
        "evaluation_seconds": evaluation,
        "state_bytes": tensor_bytes(state),
        "weights_bytes": tensor_bytes(state["model"]),
        "device": str(run.device),
        "threads": environment["threads"],
        "data": environment["data"],
        "versions": environment["packages"],
        "images": {name: len(one) for name, one in _splits(run).items()},
        "batch": int(cfg.dataloader.train.get("batch_size", 0)) * settings.accumulate,
    }


def _time_steps(run: Any, steps: int) -> list[float]:
    """Seconds of each step, the first of which warm up."""
    import torch

    from ..engine.loop import _step
    from ..engine.progress import Clock

    batches, clock, seconds = run.batches(0), Clock(), []
    for iteration in range(1, WARM_UP + steps + 1):
        before = time.perf_counter()
        _step(run, batches, clock, iteration, reports=False)
        if run.device.type == "cuda":
            torch.cuda.synchronize(run.device)
        seconds.append(time.perf_counter() - before)
    return seconds[WARM_UP:]


def _time_evaluation(run: Any) -> float:
    """Seconds of an evaluation, from a few batches; 0 without a validation set."""
    from ..evaluation.inference import predict

    if not run.has_val:
        return 0.0
    batches = list(itertools.islice(iter(run.val_loader), BATCHES))
    predict(run.model, batches[:1], progress=False)
    before = time.perf_counter()
    predict(run.model, batches, progress=False)
    return (time.perf_counter() - before) * len(run.val_loader) / len(batches)


def _splits(run: Any) -> dict[str, Any]:
    return {name: one for name, one in (("train", run.train_records), ("val", run.val_records)) if one is not None}


def tensor_bytes(value: Any) -> int:
    """Of all tensors in nested containers: what a checkpoint of them takes, but for a few kB."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(tensor_bytes, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(tensor_bytes, value))
    return 0
