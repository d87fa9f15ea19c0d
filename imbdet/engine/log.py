"""What a run writes while it runs: metrics.jsonl (the primary store), and the loggers that draw the same numbers.

One line of metrics.jsonl is one report: {"iteration": 20, "split": "train", "loss/total": 1.23, ...}. Histograms are
lists, values that do not exist (AP of a class without objects) are null.
"""

import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..runs import METRICS, read_metrics
from ..write import write_whole, writing
from .loggers import open_loggers

STEP = "adversary/step"  #: of the lines between two iterations: the steps of adversaries so far


class RunLog:
    """Writes reports of one run; the loop calls it in process 0 only.

    folder: the run folder. start: iteration of the checkpoint a resumed run continues from (0 for a fresh run): later
    lines of metrics.jsonl are dropped and TensorBoard hides its later points, so that no iteration is there twice.
    steps: of adversaries, in that checkpoint. loggers: names, as of `train.loggers`. config: the run's, for them.
    """

    def __init__(
        self,
        folder: str | Path,
        start: int = 0,
        tensorboard: bool = True,
        steps: int = 0,
        loggers: Sequence[str] = (),
        config: dict[str, Any] | None = None,
    ):
        self.path = Path(folder) / METRICS
        truncate_metrics(self.path, start, steps)
        names = [*(["tensorboard"] if tensorboard else []), *loggers]
        self.loggers = open_loggers(names, self.path.parent, start, config or {})
        self.file = open(self.path, "a", encoding="utf-8")

    def write(
        self, iteration: int, split: str, scalars: dict[str, float], histograms: dict[str, dict] | None = None
    ) -> None:
        """Write a report. scalars: tag -> number. histograms: tag -> {"edges": B+1 numbers, "counts": B numbers}."""
        line: dict[str, Any] = {"iteration": iteration, "split": split}
        line.update({tag: number_or_none(value) for tag, value in scalars.items()})
        line.update({tag: histogram["counts"] for tag, histogram in (histograms or {}).items()})
        with writing(self.path, "The checkpoints are untouched; free some space and continue with --resume."):
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        finite = {tag: value for tag, value in scalars.items() if number_or_none(value) is not None}
        self._tell("write", iteration, split, finite, histograms or {})

    def pictures(self, iteration: int, split: str, pictures: dict[str, Tensor | Callable[[], Tensor]]) -> None:
        """Write pictures: tag -> uint8 (3, H, W), or a call that draws it; for the loggers only."""
        if pictures:
            self._tell("pictures", iteration, split, pictures)

    def close(self) -> None:
        self.file.close()
        self._tell("close")

    def _tell(self, method: str, *arguments: Any) -> None:
        """Call a method of all loggers. One that fails is left out from then on: a training outlives its network."""
        for logger in list(self.loggers):
            try:
                getattr(logger, method)(*arguments)
            except Exception as error:
                self.loggers.remove(logger)
                text = f"{type(logger).__name__} gets no more reports: {error}; {METRICS} holds all of them"
                warnings.warn(text, stacklevel=3)


class NoLog:
    """The log of the processes that do not write."""

    def write(self, *args: Any) -> None: ...

    def pictures(self, *args: Any) -> None: ...

    def close(self) -> None: ...


def number_or_none(value: Any) -> float | int | None:
    """Return JSON has no NaN: what is not finite becomes null."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)


def truncate_metrics(path: Path, iteration: int, steps: int = 0) -> None:
    """Drop the lines after `iteration` and so many steps of adversaries, which a resumed run will write again."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path) if line["iteration"] <= iteration and line.get(STEP, 0) <= steps]
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))
