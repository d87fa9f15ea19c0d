"""What an evaluation says: numbers, a table per class, and how they were made.

Notable: a result carries its evaluator's name, version, limits of detections and IoU thresholds, since no two
evaluators agree on odd input and an AP without them cannot be compared. JSON holds every number at full precision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..write import write_whole
from .backends import Curves
from .metrics import METRICS


class EvaluationWarning(UserWarning):
    """The numbers may not be what they look like; also in `Result.warnings`."""


@dataclass
class Result:
    """A finished evaluation. `result["AP"]` is a metric.

    Attributes:
        metrics: AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl AP90, and APr APc APf with train data; in 0..1,
            or -1 where nothing there could be found, as pycocotools has it.
        per_class: a row per class in the order of the labels: name, category_id, AP, AP50, AR (None without objects),
            boxes, images, and with train data train_boxes, train_images, group.
        groups: {"rule": words, "rare" | "common" | "frequent": {"AP", "classes", "classes_evaluated", ...}}, or None.
        evaluator: name, version, iou_type, max_dets, iou_thresholds.
        images, objects (without crowd), detections: how many there were. data: what was evaluated on.
        notes: put right without effect on a number; warnings: read these before you believe a number.
        curves: precision, recall and score arrays.
    """

    metrics: dict[str, float]
    per_class: list[dict]
    groups: dict | None
    evaluator: dict
    images: int
    objects: int
    detections: int
    data: str
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    curves: Curves | None = field(default=None, repr=False)

    def __getitem__(self, key: str) -> float:
        return self.metrics[key]

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics by name, and per_class, groups, evaluator, counts, notes, warnings; everything JSON can
        hold.
        """
        rest = ("per_class", "groups", "evaluator", "images", "objects", "detections", "data", "notes", "warnings")
        return {**self.metrics, **{name: getattr(self, name) for name in rest}}

    def to_json(self, path: str | Path | None = None) -> str:
        """Return `to_dict()` as JSON at full precision; also written to `path`, if given."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"
        if path is not None:
            write_whole(path, text)
        return text

    def to_text(self, max_classes: int = 100) -> str:
        """Return tables for a terminal, in percent points; at most `max_classes` classes (those with fewest train
        boxes).
        """
        e = self.evaluator
        head = (
            f"{self.data}: {self.images} images, {self.objects} objects, {self.detections} detections\n"
            f"evaluator: {e['name']} {e['version']}, {e['iou_type']}, maxDets {'/'.join(map(str, e['max_dets']))}, "
            f"IoU {e['iou_thresholds'][0]:.2f} to {e['iou_thresholds'][-1]:.2f}"
        )
        parts = [head, self._metrics_table(), self._class_table(max_classes)]
        if self.groups:
            parts.append(self._group_table())
        remarks = [f"note: {note}" for note in self.notes] + [f"WARNING: {warning}" for warning in self.warnings]
        parts.append("\n".join(remarks))
        return "\n\n".join(part for part in parts if part)

    def _metrics_table(self) -> str:
        titles = {f"AR{limit}": f"AR, {limit} per image and class" for limit in self.evaluator["max_dets"]}
        titles |= {metric.name: metric.title for metric in METRICS}
        rows = [(key, titles[key], points(value)) for key, value in self.metrics.items()]
        return _table(rows, ("metric", "what", "value"))

    def _class_table(self, limit: int) -> str:
        rows = sorted(self.per_class, key=lambda row: -(row.get("train_boxes") or row["boxes"]))
        left_out = len(rows) - limit
        titles = {"name": "class", "group": "group", "train_boxes": "train boxes", "boxes": "test boxes"}
        titles = {key: title for key, title in titles.items() if self.groups or key in ("name", "boxes")}
        numbers = ("AP", "AP50", "AR")
        table = [
            [*("–" if row[key] is None else row[key] for key in titles), *(points(row[key]) for key in numbers)]
            for row in rows[max(left_out, 0) :]
        ]
        text = _table(table, (*titles.values(), *numbers))
        return f"({left_out} classes with more boxes are not shown; the JSON has all)\n{text}" if left_out > 0 else text

    def _group_table(self) -> str:
        names = [name for name in self.groups if name != "rule"]
        columns = ("classes", "classes_evaluated", "train_boxes", "boxes")
        rows = [[name, *(self.groups[name][c] for c in columns), points(self.groups[name]["AP"])] for name in names]
        text = _table(rows, ("group", "classes", "with objects", "train boxes", "test boxes", "AP"))
        return f"{text}\ngroups by {self.groups['rule']}"


def points(value: float | None) -> str:
    """Format 0.5045 -> "50.45"; "–" where there is nothing to be found."""
    return "–" if value is None or value == -1 else f"{100 * value:.2f}"


def _table(rows: list, headers: tuple[str, ...]) -> str:
    numbers = ("train boxes", "test boxes", "AP", "AP50", "AR", "value", "classes", "with objects")
    align = ["right" if header in numbers else "left" for header in headers]
    return tabulate(rows, headers=headers, tablefmt="simple", colalign=align, disable_numparse=True) if rows else ""
