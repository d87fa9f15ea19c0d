"""A run folder, read once for the report.

    run = read_run("output/demo/run")
    iterations, values = run.series("train", "loss/total")

Notable: a run that was stopped early, or one of another version, lacks some files or some tags. What is missing is
empty here and left out of the page, never an error; only a folder without any number in it is refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Run:
    """What a run folder holds.

    Attributes:
        folder: where.
        metrics: the lines of metrics.jsonl, in order.
        result: the evaluation in result.json, as `imbdet.evaluate` returns it; {} without one.
        environment: environment.json, {} without one.
        config_text: config.yaml as text, "" without one.
    """

    folder: Path
    metrics: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""

    def series(self, split: str, tag: str) -> tuple[list[int], list[float]]:
        """Iterations and values of one scalar; lines without the tag, or with null, are left out."""
        lines = [line for line in self.metrics if line.get("split") == split and line.get(tag) is not None]
        return [line["iteration"] for line in lines], [line[tag] for line in lines]

    def last(self, split: str, tag: str) -> Any:
        """The newest value of a tag, None if there is none."""
        values = self.series(split, tag)[1]
        return values[-1] if values else None

    def tags(self, split: str, prefix: str = "") -> list[str]:
        """All tags of a split that begin with `prefix`, in order of appearance."""
        found: dict[str, None] = {}
        for line in self.metrics:
            if line.get("split") == split:
                found.update(dict.fromkeys(tag for tag in line if tag.startswith(prefix)))
        return [tag for tag in found if tag not in ("iteration", "split")]

    @property
    def iterations(self) -> int:
        """The last iteration that reported."""
        return max((line["iteration"] for line in self.metrics), default=0)


def read_run(folder: str | Path) -> Run:
    """Read `folder`.

    Raises:
        FileNotFoundError: there is no such folder, or it holds neither metrics.jsonl nor result.json.
        ValueError: result.json or environment.json is no JSON.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no run folder {folder}; give the train.output_dir of a training")
    metrics = folder / "metrics.jsonl"
    if not metrics.exists() and not (folder / "result.json").exists():
        raise FileNotFoundError(f"{folder} holds neither metrics.jsonl nor result.json, so there is nothing to report")
    from ..engine.log import read_metrics

    config = folder / "config.yaml"
    return Run(
        folder=folder,
        metrics=read_metrics(metrics) if metrics.exists() else [],
        result=_evaluation(_read_json(folder / "result.json")),
        environment=_read_json(folder / "environment.json"),
        config_text=config.read_text(encoding="utf-8") if config.exists() else "",
    )


def _evaluation(content: dict[str, Any]) -> dict[str, Any]:
    """A training's result.json holds its last evaluation under a key; the evaluation's own file is one itself."""
    return (content["evaluation"] or {}) if "evaluation" in content else content


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); evaluate the run again to write it anew") from error
