"""Part `waits`: where the host waits for the device in one iteration of the training loop, after two of warm-up.

On a GPU torch itself warns of each wait. Beside it stands the count that is made on any device, from the operators
that need a value (`imbdet/modeling/count.py`) in the detector; on a CPU there is only that one.
"""

import contextlib
import io
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import imbdet
from imbdet.engine.distributed import world_of
from imbdet.engine.loop import adversary_steps
from imbdet.engine.loop import step as train_step
from imbdet.engine.progress import Clock
from imbdet.engine.settings import read_settings
from imbdet.engine.start import start_run
from imbdet.engine.stop import StopRequest
from imbdet.modeling.count import OperatorCount

from .cases import CONFIGS, run_config
from .child import figures

PACKAGE = Path(imbdet.__file__).parent
DETECTOR = ("imbdet/modeling", "imbdet/remedies")
#: a list of numbers, how many regions each level has before RoIAlign: no operator that could be counted
UNSEEN = "imbdet/modeling/roi_pool.py"
#: waits of the loop besides those of the detector's forward: loss scaling asks whether a gradient overflowed
LOOP = {"float32": 0, "float16": 1}


def units(small: bool) -> list[str]:
    return [*CONFIGS, *(f"{name}:float16" for name in CONFIGS if small is False and name.endswith("_shapes"))]


def run(unit: str, device: str, small: bool) -> dict:
    name, _, dtype = unit.partition(":")
    with tempfile.TemporaryDirectory() as folder, world_of(device) as world:
        cfg = run_config(name, small, device, folder)
        if dtype:
            cfg.train.amp.enabled, cfg.train.amp.dtype = True, dtype
        with contextlib.redirect_stdout(io.StringIO()):
            run_, _ = start_run(cfg, read_settings(cfg), world, StopRequest(), resume=False)
        with run_:
            return _watch(run_, device, LOOP[dtype or "float32"])


def _watch(run_: Any, device: str, of_loop: int) -> dict:
    batches, clock = run_.batches(0), Clock()

    def step(iteration: int) -> None:
        train_step(run_, batches, clock, iteration, reports=False)

    adversary_steps(run_, batches, clock, 0)
    step(1)
    step(2)
    with Counted(device) as count:
        step(3)
    counted, row = count.places.total() + of_loop, {"short": []}
    row |= {"counted": counted, "operators": count.operators, "places": dict(+count.places)}
    if device == "cpu":
        return figures(**row)
    with waits() as places:
        step(4)
    row |= {"waits": places.total(), "places": dict(places.most_common())}
    unknown = Counter({p: n for p, n in places.items() if p not in count.places and not p.startswith(UNSEEN)})
    if unknown.total() > of_loop:  # how often suppression asks differs from step to step, where it does not
        row["short"].append(f"waits that were not counted: {dict(unknown)}")
    return figures(**row)


class Counted(OperatorCount):
    """An OperatorCount of the waits for one device in the detector, with where in the package each is.

    What the loop and the optimizer ask of numbers on the host, and what is checked on CPUs only, is none.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.places = device, Counter[str]()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        before = self.synchronizations
        result = super().__torch_dispatch__(function, types, args, kwargs)
        if self.synchronizations > before and args[0].device.type == self.device:
            where = place()
            self.places[where] += where.startswith(DETECTOR)
        return result


def place() -> str:
    """file:line of the innermost frame inside of the package; the loop's own where a library asks."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(PACKAGE) and path.name != "count.py":
            return f"{path.relative_to(PACKAGE.parent)}:{frame.lineno} {frame.name}"
    return "outside of the package"


@contextlib.contextmanager
def waits() -> Iterator[Counter]:
    """Counts the waits that torch warns of, by place."""
    places: Counter[str] = Counter()

    def note(message: Any, *more: Any, **others: Any) -> None:
        if "synchroniz" in str(message):
            places[place()] += 1

    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode("default")
