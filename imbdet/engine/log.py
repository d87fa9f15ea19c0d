"""What a run writes while it runs: metrics.jsonl (the primary store) and TensorBoard (the same scalars, drawn).

One line of metrics.jsonl is one report: {"iteration": 20, "split": "train", "loss/total": 1.23, ...}. Histograms are
lists, values that do not exist (AP of a class without objects) are null. TensorBoard gets a writer per split,
`tb/train` and `tb/val`, so that a tag which both have lies on one plot, and no custom-scalar layout is needed (a
writer keeps only its last one).
"""

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from ..runs import METRICS, TENSORBOARD, read_metrics
from ..write import write_whole, writing

STEP = "adversary/step"  #: of the lines between two iterations: the steps of adversaries so far


class RunLog:
    """Writes reports of one run; the loop calls it in process 0 only.

    folder: the run folder. start: iteration of the checkpoint a resumed run continues from (0 for a fresh run): later
    lines of metrics.jsonl are dropped and TensorBoard hides its later points, so that no iteration is there twice.
    steps: of adversaries, in that checkpoint.
    """

    def __init__(self, folder: str | Path, start: int = 0, tensorboard: bool = True, steps: int = 0):
        self.path = Path(folder) / METRICS
        truncate_metrics(self.path, start, steps)
        self.file = open(self.path, "a", encoding="utf-8")
        self.start, self.writers, self.tensorboard = start, {}, tensorboard

    def write(
        self, iteration: int, split: str, scalars: dict[str, float], histograms: dict[str, dict] | None = None
    ) -> None:
        """scalars: tag -> number. histograms: tag -> {"edges": B+1 numbers, "counts": B numbers}."""
        line: dict[str, Any] = {"iteration": iteration, "split": split}
        line.update({tag: number_or_none(value) for tag, value in scalars.items()})
        line.update({tag: histogram["counts"] for tag, histogram in (histograms or {}).items()})
        with writing(self.path, "The checkpoints are untouched; free some space and continue with --resume."):
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()
        writer = self._writer(split)
        if writer is None:
            return
        for tag, value in scalars.items():
            if number_or_none(value) is not None:
                writer.add_scalar(tag, value, iteration)
        for tag, histogram in (histograms or {}).items():
            add_histogram(writer, tag, histogram, iteration)

    def pictures(self, iteration: int, split: str, pictures: dict[str, Tensor | Callable[[], Tensor]]) -> None:
        """tag -> uint8 (3, H, W), or a call that draws it; TensorBoard only."""
        writer = self._writer(split)
        for tag, picture in pictures.items() if writer else ():
            writer.add_image(tag, picture() if callable(picture) else picture, iteration)

    def close(self) -> None:
        self.file.close()
        for writer in self.writers.values():
            writer.close()

    def _writer(self, split: str) -> Any:
        if not self.tensorboard:
            return None
        if split not in self.writers:
            try:
                from torch.utils.tensorboard import SummaryWriter  # 1 s of import, so not before it is needed
            except ImportError as error:
                warnings.warn(f"no TensorBoard events: {error}; metrics.jsonl holds the same numbers", stacklevel=2)
                self.tensorboard = False
                return None
            purge = self.start + 1 if self.start else None
            self.writers[split] = SummaryWriter(self.path.parent / TENSORBOARD / split, purge_step=purge, flush_secs=20)
        return self.writers[split]


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


def add_histogram(writer: Any, tag: str, histogram: dict, iteration: int) -> None:
    """Write a histogram that is counted already, so that TensorBoard need not see the values (6 ms less)."""
    edges, counts = histogram["edges"], histogram["counts"]
    total = sum(counts)
    if not total:
        return
    middles = [(low + high) / 2 for low, high in zip(edges, edges[1:], strict=False)]
    writer.add_histogram_raw(
        tag,
        min=edges[0],
        max=edges[-1],
        num=total,
        sum=sum(c * m for c, m in zip(counts, middles, strict=True)),
        sum_squares=sum(c * m * m for c, m in zip(counts, middles, strict=True)),
        bucket_limits=edges[1:],
        bucket_counts=counts,
        global_step=iteration,
    )


def truncate_metrics(path: Path, iteration: int, steps: int = 0) -> None:
    """Drop the lines after `iteration` and so many steps of adversaries, which a resumed run will write again."""
    if not path.exists():
        return
    kept = [line for line in read_metrics(path) if line["iteration"] <= iteration and line.get(STEP, 0) <= steps]
    write_whole(path, "".join(json.dumps(line) + "\n" for line in kept))
