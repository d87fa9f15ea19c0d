"""Where a run's reports go besides metrics.jsonl: TensorBoard, Weights & Biases, MLflow, or a logger of your own.

`train.loggers=[wandb,mlflow]` names them; `train.tensorboard` switches TensorBoard. A package adds one as an entry
point of the group `imbdet.loggers`: a subclass of `Logger`. Where they write, and to which project, is said by their
own environment variables (WANDB_PROJECT, WANDB_MODE, MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME ...).
"""

import os
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from torch import Tensor

from ..runs import TENSORBOARD, read_json
from ..write import write_json

GROUP = "imbdet.loggers"
IDS = "loggers.json"  #: in the run folder: {logger: id of its run}, so that a resumed run goes on there

Scalars = Mapping[str, float]
Pictures = Mapping[str, Tensor | Callable[[], Tensor]]


class Logger:
    """Base of all loggers; every method may be left out. One is made when a run begins or is resumed.

    Args:
        folder: of the run. start: iteration that a resumed run goes on from, 0 for a new one. config: of the run, as
            plain containers.
    """

    def __init__(self, folder: Path, start: int, config: dict[str, Any]): ...

    def write(self, iteration: int, split: str, scalars: Scalars, histograms: Mapping[str, dict]) -> None:
        """Write a report: scalars by tag, all finite; histograms {tag: {"edges": B+1 numbers, "counts": B numbers}}."""

    def pictures(self, iteration: int, split: str, pictures: Pictures) -> None:
        """Write pictures: tag -> uint8 (3, H, W), or a call that draws it."""

    def close(self) -> None:
        """Close: the run is over, or was stopped."""


class TensorBoard(Logger):
    """A writer a split, `tb/train` and `tb/val`, so that a tag which both have lies on one plot."""

    def __init__(self, folder: Path, start: int, config: dict[str, Any]):
        from torch.utils.tensorboard import SummaryWriter  # 1 s of import, so not before it is needed

        self.make, self.folder, self.start, self.writers = SummaryWriter, folder, start, {}

    def writer(self, split: str) -> Any:
        if split not in self.writers:
            purge = self.start + 1 if self.start else None
            place = self.folder / TENSORBOARD / split
            self.writers[split] = self.make(place, purge_step=purge, flush_secs=20)
        return self.writers[split]

    def write(self, iteration: int, split: str, scalars: Scalars, histograms: Mapping[str, dict]) -> None:
        writer = self.writer(split)
        for tag, value in scalars.items():
            writer.add_scalar(tag, value, iteration)
        for tag, histogram in histograms.items():
            add_histogram(writer, tag, histogram, iteration)

    def pictures(self, iteration: int, split: str, pictures: Pictures) -> None:
        for tag, picture in pictures.items():
            self.writer(split).add_image(tag, picture() if callable(picture) else picture, iteration)

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()


class WeightsAndBiases(Logger):
    """Metrics `train/loss/total` ... over the metric `iteration`; validation pictures, no histograms."""

    def __init__(self, folder: Path, start: int, config: dict[str, Any]):
        import wandb

        known = read_json(folder / IDS).get("wandb") if start else None
        self.wandb = wandb
        self.run = wandb.init(dir=str(folder), name=folder.name, config=config, id=known, resume="allow")
        _keep(folder, "wandb", self.run.id)
        self.run.define_metric("iteration")
        self.run.define_metric("*", step_metric="iteration")

    def write(self, iteration: int, split: str, scalars: Scalars, histograms: Mapping[str, dict]) -> None:
        self.run.log({"iteration": iteration, **{f"{split}/{tag}": value for tag, value in scalars.items()}})

    def pictures(self, iteration: int, split: str, pictures: Pictures) -> None:
        drawn = {tag: picture() if callable(picture) else picture for tag, picture in pictures.items()}
        images = {f"{split}/{tag}": self.wandb.Image(x.permute(1, 2, 0).numpy()) for tag, x in drawn.items()}
        self.run.log({"iteration": iteration, **images})

    def close(self) -> None:
        self.run.finish()


class MLflow(Logger):
    """Metrics `train/loss/total` ... with the iteration as step; the leaves of the config as parameters."""

    def __init__(self, folder: Path, start: int, config: dict[str, Any]):
        from mlflow.tracking import MlflowClient

        self.client, name = MlflowClient(), os.environ.get("MLFLOW_EXPERIMENT_NAME", "imbdet")
        self.id = read_json(folder / IDS).get("mlflow") if start else None
        if self.id is None:
            experiment = self.client.get_experiment_by_name(name)
            place = experiment.experiment_id if experiment else self.client.create_experiment(name)
            self.id = self.client.create_run(place, run_name=folder.name).info.run_id
            _keep(folder, "mlflow", self.id)
            for key, value in _leaves(config).items():
                self.client.log_param(self.id, key, str(value)[:500])

    def write(self, iteration: int, split: str, scalars: Scalars, histograms: Mapping[str, dict]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(_name(f"{split}/{tag}"), float(value), now, iteration) for tag, value in scalars.items()]
        for i in range(0, len(metrics), 900):  # a call takes 1000 at most
            self.client.log_batch(self.id, metrics=metrics[i : i + 900])

    def close(self) -> None:
        self.client.set_terminated(self.id)


#: name in `train.loggers` -> the logger, and what installs it
LOGGERS: dict[str, tuple[type[Logger], str]] = {
    "tensorboard": (TensorBoard, "tensorboard"),
    "wandb": (WeightsAndBiases, "imbdet[wandb]"),
    "mlflow": (MLflow, "imbdet[mlflow]"),
}


def kinds_of(names: Sequence[str]) -> dict[str, type[Logger]]:
    """Return {name: its class}. Raises ValueError for an unknown name, with those that there are."""
    outside = {point.name: point for point in entry_points(group=GROUP)}
    unknown = [name for name in names if name not in LOGGERS and name not in outside]
    if unknown:
        known = ", ".join([*LOGGERS, *outside])
        raise ValueError(f"train.loggers names {unknown[0]!r}; there are {known} (and entry points of {GROUP})")
    return {name: LOGGERS[name][0] if name in LOGGERS else outside[name].load() for name in dict.fromkeys(names)}


def open_loggers(names: Sequence[str], folder: Path, start: int, config: dict[str, Any]) -> list[Logger]:
    """Open the loggers of these names. TensorBoard that is not installed is left out with a warning.

    Raises:
        ValueError: an unknown name. ImportError: one is not installed, with what installs it.
    """
    found = []
    for name, kind in kinds_of(names).items():
        try:
            found.append(kind(folder, start, config))
        except ImportError as error:
            if name == "tensorboard":
                text = f"no TensorBoard events: {error}; metrics.jsonl holds the same numbers"
                warnings.warn(text, stacklevel=3)
                continue
            install = LOGGERS[name][1] if name in LOGGERS else name
            raise ImportError(
                f"train.loggers names {name}: {error}; install it with: pip install '{install}'"
            ) from error
    return found


def add_histogram(writer: Any, tag: str, histogram: dict, iteration: int) -> None:
    """Add a histogram that is counted already, so that TensorBoard need not see the values (6 ms less)."""
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


def _keep(folder: Path, name: str, identifier: str) -> None:
    write_json(folder / IDS, {**read_json(folder / IDS), name: identifier})


def _leaves(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, Mapping):
        return {_name(prefix): config}
    parts = [_leaves(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in config.items()]
    return {key: value for part in parts for key, value in part.items()}


def _name(text: str) -> str:
    """MLflow takes letters, digits, underscores, dashes, periods, spaces and slashes."""
    return re.sub(r"[^\w\-. /]", "_", text)[:250]
