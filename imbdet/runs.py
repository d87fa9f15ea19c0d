"""What a run is on disk: the names of its files, and reading them.

    run = RunFolder("output/demo/run")
    run.result()["metrics"]["AP"], run.metrics(), run.checkpoint("best"), run.config()

    config.yaml       the config, reloadable        last.pth        all state at the last save
    environment.json  versions, device, data hash   last_prev.pth   the save before
    trained_on.json   classes, counts, resizing     best.pth        weights of the best evaluation
    metrics.jsonl     every number on the way       model_*.pth     periodic saves that are kept
    result.json       the last evaluation           tb/             TensorBoard events
    detections.json   COCO results, where kept

A run that was stopped early lacks some of them: what is missing reads as empty. A file that is damaged is an error that
names it.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

CONFIG, ENVIRONMENT, METRICS = "config.yaml", "environment.json", "metrics.jsonl"
TRAINED_ON, RESULT, DETECTIONS, TENSORBOARD = "trained_on.json", "result.json", "detections.json", "tb"
LAST, PREVIOUS, BEST, NAMED = "last.pth", "last_prev.pth", "best.pth", "model_*.pth"
#: what training writes, as patterns
FILES = (CONFIG, ENVIRONMENT, TRAINED_ON, METRICS, RESULT, LAST, PREVIOUS, BEST, NAMED)
#: what a training of detectron2 leaves in place of METRICS and DETECTIONS
OF_DETECTRON2 = ("metrics.json", "coco_instances_results.json")
#: what `checkpoint` takes, in the order of preference
WHICH = {"best": BEST, "last": LAST}


@dataclass(frozen=True)
class RunFolder:
    """A folder that training wrote, or will write. Nothing is read before it is asked for, nothing is kept."""

    path: Path

    def __post_init__(self):
        object.__setattr__(self, "path", Path(self.path))

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        """The path of a file in it: `run / METRICS`."""
        return self.path / name

    def has(self, name: str) -> bool:
        """Return whether it holds a file of this name."""
        return (self.path / name).is_file()

    def files(self) -> list[Path]:
        """Return the files of a run that are there, and no others."""
        return [path for pattern in FILES for path in sorted(self.path.glob(pattern))]

    @property
    def of_detectron2(self) -> bool:
        """Whether detectron2 wrote it: only its numbers and its detections are read."""
        return not self.has(METRICS) and (self.has(OF_DETECTRON2[0]) or self.detections().name == OF_DETECTRON2[1])

    def checked(self) -> "RunFolder":
        """Return itself. Raises FileNotFoundError if it is no folder of a run, with runs that are near."""
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"no run at {self.path}: a run is the folder that training wrote (train.output_dir)"
            )
        if not self.has(CONFIG) and not self.of_detectron2:
            near = sorted(str(path.parent) for path in self.path.glob(f"*/{CONFIG}"))[:5]
            hint = f"; there are runs at {', '.join(near)}" if near else ""
            raise FileNotFoundError(f"{self.path} is not a run: it holds no {CONFIG}{hint}")
        return self

    def config(self, remedies: Sequence[str] = (), overrides: Sequence[str] = ()) -> "DictConfig":
        """Return its config, see `load_config`. Raises as that does."""
        from .config import load_config

        return load_config(self.path / CONFIG, remedies, overrides)

    def config_text(self) -> str:
        """Return config.yaml as text, "" without one."""
        return (self.path / CONFIG).read_text(encoding="utf-8") if self.has(CONFIG) else ""

    def environment(self) -> dict[str, Any]:
        """Return environment.json, {} without one."""
        return read_json(self.path / ENVIRONMENT)

    def trained_on(self) -> dict[str, Any]:
        """Return the classes, their counts, the data's fingerprint and the preprocessing, as its checkpoints hold them;
        {} of an older run.
        """
        return read_json(self.path / TRAINED_ON)

    def result(self) -> dict[str, Any]:
        """Return result.json, {} without one."""
        return read_json(self.path / RESULT)

    def evaluation(self) -> dict[str, Any]:
        """Return the evaluation in result.json, {} without one: a training's file holds it under a key, a file that
        `imbdet evaluate --out` wrote is one.
        """
        result = self.result()
        return (result["evaluation"] or {}) if "evaluation" in result else result

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl (of detectron2: metrics.json) in order, [] without one."""
        name = next((one for one in (METRICS, OF_DETECTRON2[0]) if self.has(one)), None)
        return read_metrics(self.path / name) if name else []

    def detections(self) -> Path:
        """Return the COCO results of its last weights, where they were kept; also where detectron2's evaluator puts
        them.
        """
        theirs = (self.path / "inference" / OF_DETECTRON2[1], self.path / OF_DETECTRON2[1])
        return next((path for path in theirs if path.is_file() and not self.has(DETECTIONS)), self.path / DETECTIONS)

    def checkpoint(self, which: str | None = None) -> Path:
        """Return the weights "best" or "last"; None: the best, or the last if nothing was evaluated.

        Raises FileNotFoundError: there are none; with what there is.
        """
        names = [WHICH[which]] if which else list(WHICH.values())
        for name in names:
            if self.has(name):
                return self.path / name
        there = sorted(path.name for path in self.path.glob("*.pth"))
        hint = f"; it has {', '.join(there)}" if there else ""
        raise FileNotFoundError(f"{self.path} holds no {' or '.join(names)}{hint}")


def parse_json(text: bytes | str) -> Any:
    """Return what JSON text in UTF-8 holds. Raises ValueError, whatever is wrong with it."""
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Return the object in a JSON file, {} if there is no such file. Raises ValueError if it is not valid, with the
    place.
    """
    try:
        value = parse_json(Path(path).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:  # also of bytes that are no UTF-8
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, not an object of keys")
    return value


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Return the lines of a metrics.jsonl, without a last line that a kill has cut."""
    lines = []
    for text in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = parse_json(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines
