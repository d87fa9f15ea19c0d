"""`train.time`: a training that is as long as a time allows.

The length is measured before the first step, on the config itself (its first steps and a part of its evaluation), and
becomes `train.max_iter`: the schedule, the phases of remedies and the saved config know it, and the run can be repeated
with it. Nothing cuts a run short: if the machine becomes slower, it takes longer than was asked for.
"""

import contextlib
import copy
import io
import os
import re
import tempfile
import time
from typing import Any

from omegaconf import OmegaConf

from ..runs import CONFIG, RunFolder
from .batch_size import with_batch_size
from .loop import train as train_loop
from .settings import read_settings
from .short import measure

STEPS = 20  #: that are timed
MEASURED = 0.1  #: of the time at most for these steps; a slow machine times fewer
USED = 0.95  #: of the time; the rest is for reports, checkpoints and metrics, which are not measured
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def train(cfg: Any, resume: bool = False) -> dict[str, Any]:
    """Train as `imbdet.engine.loop.train` does; `train.batch_size` and then `train.time` become numbers first."""
    return train_loop(with_length(with_batch_size(cfg, resume), resume), resume)


def seconds_of(text: str) -> float:
    """Convert "30m", "1h30m", "90s", "90" (seconds) -> seconds. Raises ValueError for anything else."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        parts = [(text, "s")]
    elif "".join(number + unit for number, unit in parts) != text or not parts:
        raise ValueError(f"train.time is {text!r}; give a time such as 30m, 2h, 1h30m or 90s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def with_length(cfg: Any, resume: bool = False, say: Any = print) -> Any:
    """Return `cfg`, or where it has a `train.time` a copy whose `train.max_iter` fits into it.

    A resumed run keeps the length that it began with.

    Raises:
        ValueError: no time, one that is too short, or several processes.
    """
    text = read_settings(cfg).time
    if not text:
        return cfg
    seconds, began = seconds_of(text), time.perf_counter()
    cfg = copy.deepcopy(cfg)
    folder = RunFolder(cfg.train.output_dir)
    if resume and folder.has(CONFIG):
        cfg.train.max_iter = int(OmegaConf.select(OmegaConf.create(folder.config_text()), "train.max_iter"))
        return cfg
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(f"train.time={text} is measured in one process; with several give train.max_iter")
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        cost = measure(copy.deepcopy(cfg), place, STEPS, MEASURED * seconds)
    left = USED * seconds - (time.perf_counter() - began) - cost["begin_seconds"]
    count = iterations_in(left, cost["step_seconds"], cost["evaluation_seconds"], read_settings(cfg).eval_period)
    if count < 1:
        raise ValueError(
            f"train.time={text} is too short: beginning takes {cost['begin_seconds']:.1f} s, an evaluation "
            f"{cost['evaluation_seconds']:.1f} s, a step {cost['step_seconds']:.3f} s, after measuring them"
        )
    cfg.train.max_iter = count
    step, evaluation = cost["step_seconds"], cost["evaluation_seconds"]
    say(f"train.time={text}: {count} iterations, of {step:.3f} s each and {evaluation:.1f} s an evaluation")
    return cfg


def iterations_in(seconds: float, step: float, evaluation: float, period: int) -> int:
    """Return the most iterations n for which n steps and their evaluations, every `period` (0: none) and at the end,
    fit.
    """
    share = step + (evaluation / period if period else 0.0)
    return max(0, int((seconds - evaluation) / share))
