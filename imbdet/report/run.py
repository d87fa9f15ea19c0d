"""A run folder, read once for the report.

    run = read_run("output/demo/run")
    iterations, values = run.series("train", "loss/total")

Notable: a run that was stopped early, or one of another version, lacks some files or some tags. What is missing is
empty here and left out of the page, never an error; only a folder without any number in it is refused.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..runs import METRICS, RESULT, RunFolder


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
        """Return iterations and values of one scalar; lines without the tag, or with null, are left out."""
        lines = [line for line in self.metrics if line.get("split") == split and line.get(tag) is not None]
        return [line["iteration"] for line in lines], [line[tag] for line in lines]

    def last(self, split: str, tag: str) -> Any:
        """Return the newest value of a tag, None if there is none."""
        values = self.series(split, tag)[1]
        return values[-1] if values else None

    def tags(self, split: str, prefix: str = "") -> list[str]:
        """Return all tags of a split that begin with `prefix`, in order of appearance."""
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
        ValueError: result.json or environment.json is not JSON.
    """
    run = RunFolder(folder)
    if not run.path.is_dir():
        raise FileNotFoundError(f"no run folder {run}; give the train.output_dir of a training")
    if not run.has(METRICS) and not run.has(RESULT):
        raise FileNotFoundError(f"{run} holds neither {METRICS} nor {RESULT}, so there is nothing to report")
    return Run(run.path, run.metrics(), run.evaluation(), run.environment(), run.config_text())
