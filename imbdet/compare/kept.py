"""What judging needs of a run, in one small file that outlives its folder: kept/<arm>/seed_<s>.npz, some tens of kB.

It holds the metrics of every draw of the bootstrap, F1 of each image, curves and last meters, config and environment.
With plan.json and results.jsonl, a grid can be judged, extended and resumed from it on another machine. A run that is
no cell of a grid has it in its own folder.

A cell writes the file when it ends. Judging reads it as long as it fits the detections and the draws that are asked
for, and makes it anew from the run folder otherwise. Numbers are judged as the file holds them (draws in steps of
1 / 65534), so that a report is the same with and without run folders.

Letters: N images, B draws, K classes.
"""

import contextlib
import io
import json
import math
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from ..config import instantiate
from ..data.statistics import GROUPS
from ..evaluation.bootstrap import image_weights
from ..evaluation.ground_truth import GroundTruth, as_ground_truth
from ..evaluation.resampled import Measured, measure
from ..runs import CONFIG, RunFolder
from ..write import write_whole
from .structures import BASELINE, RunRecord

KEPT = "kept"
DRAWS, SEED = 1000, 0  #: of the bootstrap over images
LAST_REPORTS = 5  #: at the end of training that are averaged: one report is about one step, so that it is noisy
#: curve -> (split, tag of metrics.jsonl)
CURVES = {
    "loss/total": ("train", "loss/total"),
    "val/loss/total": ("val", "loss/total"),
    "AP/AP": ("val", "AP/AP"),
    "AP/APr": ("val", "AP/APr"),
}
_STEPS = 65534  #: of a draw; one more says that nothing of that kind was drawn


@dataclass
class Scene:
    """The images evaluated on: ids (N,), objects of each without crowd (N,), objects of each class (K,)."""

    image_ids: np.ndarray
    objects: np.ndarray
    class_counts: np.ndarray

    @classmethod
    def of(cls, truth: GroundTruth) -> "Scene":
        objects = np.bincount(truth.image[~truth.crowd], minlength=len(truth))
        return cls(truth.image_ids, objects, truth.class_counts())

    def __len__(self) -> int:
        return len(self.image_ids)


@dataclass
class Kept:
    """A run as judging sees it.

    Attributes:
        facts: {"reports" (of metrics.jsonl, what curves and meters need), "environment", "evaluation" (rule of the
            groups, evaluator, number of images), "config" (text)}.
        measured, scene: what its detections give, and of which images; None without usable detections.
        key: what `measured` was made from.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    measured: Measured | None = None
    scene: Scene | None = None
    key: str = ""

    @property
    def reports(self) -> list[dict[str, Any]]:
        return self.facts.get("reports", [])


@dataclass
class Finished:
    """A finished run of a comparison, with what is kept of it."""

    record: RunRecord
    kept: Kept = field(default_factory=Kept)

    @property
    def measured(self) -> Measured | None:
        return self.kept.measured

    def fact(self, name: str) -> dict[str, Any]:
        """ "environment" or "evaluation", {} where unknown."""
        return self.kept.facts.get(name) or {}

    def __str__(self) -> str:
        return f"{self.record.arm}, seed {self.record.seed}"

    def value(self, metric: str) -> float | None:
        """A metric as the run's own evaluation has it, else as its detections give it; None where it is undefined."""
        value = self.record.metrics.get(metric)
        if metric not in self.record.metrics and self.measured is not None:
            value = self.measured.values.get(metric)
        return None if value is None or value == -1 or not np.isfinite(value) else float(value)


Runs = Mapping[str, Mapping[int, Finished]]  #: {arm: {seed: its run}}


def machines_of(by_arm: Runs) -> dict[int, str]:
    """{seed: the kind of machine that computed it}: the baseline's where it is known, else the first."""
    found: dict[int, str] = {}
    for _, runs in sorted(by_arm.items(), key=lambda item: item[0] != BASELINE):
        for seed, run in runs.items():
            found[seed] = found.get(seed) or run.record.machine
    return found


class Truths:
    """The ground truths of a comparison, one for each data that runs are evaluated on, with the draws of its images."""

    def __init__(self, split: str, draws: int = DRAWS, seed: int = SEED):
        self.split, self.draws, self.seed = split, draws, seed
        self._read: dict[str, tuple[GroundTruth, np.ndarray] | Exception] = {}

    def of(self, record: RunRecord, folder: RunFolder) -> tuple[GroundTruth, np.ndarray]:
        """Raises OSError, ValueError, RuntimeError, ImportError if it cannot be had; the same each time."""
        data = str(record.pins.get(f"data.{self.split}"))
        if data not in self._read:
            try:
                cfg = folder.config()
                if cfg.get("data") is None or cfg.data.get(self.split) is None:
                    raise ValueError(f"the config of {folder} has no data.{self.split}")
                truth = as_ground_truth(instantiate(cfg.data[self.split]))
                self._read[data] = truth, image_weights(len(truth), self.draws, self.seed)
            except (OSError, ValueError, RuntimeError, ImportError) as error:
                self._read[data] = error
        found = self._read[data]
        if isinstance(found, Exception):
            raise found
        return found

    def key(self, detections: Path) -> str:
        return f"{self.draws} draws, seed {self.seed}, detections {zlib.crc32(detections.read_bytes()):08x}"


def kept_path(folder: Path) -> Path:
    """Return what is kept of a run folder: beside `runs/` for a cell of a grid, inside of it for any other run."""
    if folder.parent.parent.name == "runs":
        return folder.parent.parent.parent / KEPT / folder.parent.name / f"{folder.name}.npz"
    return folder / f"{KEPT}.npz"


def keep_run(root: Path, record: RunRecord, truths: Truths) -> tuple[Kept, str]:
    """Read what is kept of a run, or make it from the run folder and keep it.

    Returns:
        What there is, and why its detections cannot be used ("" if they can, or if there are none).
    """
    folder, path = RunFolder(root / record.folder), kept_path(root / record.folder)
    kept = read_kept(path)
    facts, why = _facts_of(folder) if folder.has(CONFIG) else kept.facts, ""
    detections = folder.detections()
    if not detections.is_file():  # and perhaps the whole folder is gone
        if kept.measured is not None and not kept.key.startswith(f"{truths.draws} draws, seed {truths.seed},"):
            return Kept(facts), f"they are gone, and what is kept of them are {kept.key.partition(', detections')[0]}"
        return Kept(facts, kept.measured, kept.scene, kept.key), ""
    if kept.key != (key := truths.key(detections)) or kept.facts != facts:
        kept = Kept(facts, kept.measured, kept.scene, key) if kept.key == key else Kept(facts, key=key)
        try:
            if kept.measured is None:
                truth, weights = truths.of(record, folder)
                kept.measured = measure(detections, truth, weights, _groups(record, truth))
                kept.scene = Scene.of(truth)
            why = _other_weights(record, kept.measured)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            why = str(error)
        if why:
            return Kept(facts), why
        content = _packed(kept)
        with contextlib.suppress(OSError):  # a folder that can only be read
            write_whole(path, content)
        kept = _unpacked(content)
    return kept, why


def read_kept(path: Path) -> Kept:
    """Read the kept part of an npz; an empty one where there is none that can be read."""
    try:
        return _unpacked(path.read_bytes())
    except (OSError, ValueError, KeyError):
        return Kept()


def kept_config(folder: RunFolder) -> DictConfig | None:
    """The config of a run, by its folder or by what is kept; None if neither is there."""
    if folder.has(CONFIG):
        return folder.config()
    text = read_kept(kept_path(folder.path)).facts.get("config")
    if not text:
        return None
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / CONFIG).write_text(text, encoding="utf-8")
        return RunFolder(place).config()


def _facts_of(folder: RunFolder) -> dict[str, Any]:
    environment, evaluation = folder.environment(), folder.evaluation()
    named = ("imbdet", "packages", "gpu", "device", "threads", "processor")
    facts = {
        "reports": _shortened(folder.metrics()),
        "environment": {name: environment[name] for name in named if name in environment},
        "evaluation": {name: evaluation.get(name) for name in ("groups", "evaluator", "images")},
        "config": folder.config_text(),
    }
    return json.loads(json.dumps(facts))


def _shortened(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last reports of training whole, of all others what the curves show; numbers only."""
    tags = {split: [tag for s, tag in CURVES.values() if s == split] for split in ("train", "val")}
    train = [line for line in lines if line.get("split") == "train"]
    whole, found = {id(line) for line in train[-LAST_REPORTS:]}, []
    for line in lines:
        wanted = line if id(line) in whole else tags.get(line.get("split"), ())
        short = {tag: line[tag] for tag in wanted if is_number(line.get(tag)) and tag != "iteration"}
        if short:
            found.append({"iteration": line.get("iteration"), "split": line["split"], **short})
    return found


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _groups(record: RunRecord, truth: GroundTruth) -> dict[str, list[int]] | None:
    """Labels of the rare, common and frequent classes, as the run's own evaluation has them."""
    if not any(row.get("group") for row in record.per_class):
        return None
    group = {row["name"]: row.get("group") for row in record.per_class}
    return {name: [k for k, label in enumerate(truth.class_names) if group.get(label) == name] for name in GROUPS}


def _other_weights(record: RunRecord, measured: Measured) -> str:
    said, found = record.metrics.get("AP"), measured.values["AP"]
    if said is None or found is None or abs(said - found) <= 1e-6:
        return ""
    return (
        f"they give an AP of {100 * found:.2f} where its evaluation says {100 * said:.2f}, so they are of other "
        "weights or limits"
    )


def _packed(kept: Kept) -> bytes:
    one, scene = kept.measured, kept.scene
    content = {"facts": kept.facts, "key": kept.key, "values": one.values, "images": one.images}
    content["metrics"] = list(one.draws)
    drawn = np.stack([np.asarray(draws, dtype=np.float64) for draws in one.draws.values()])
    if np.nanmin(drawn, initial=0) < 0 or np.nanmax(drawn, initial=0) > 1:
        raise ValueError("a metric of a draw is not in 0..1")
    file = io.BytesIO()
    np.savez_compressed(
        file,
        content=np.frombuffer(json.dumps(content).encode(), dtype=np.uint8),
        draws=np.where(np.isnan(drawn), _STEPS + 1, np.round(np.nan_to_num(drawn) * _STEPS)).astype(np.uint16),
        f1=one.f1.astype(np.float32),
        image_ids=scene.image_ids,
        objects=scene.objects,
        class_counts=scene.class_counts,
    )
    return file.getvalue()


def _unpacked(data: bytes) -> Kept:
    with np.load(io.BytesIO(data)) as file:
        content = json.loads(file["content"].tobytes())
        draws = file["draws"].astype(np.float64) / _STEPS
        draws[draws > 1] = np.nan
        named = dict(zip(content["metrics"], draws, strict=True))
        measured = Measured(content["values"], named, file["f1"].astype(np.float64), content["images"])
        scene = Scene(file["image_ids"], file["objects"], file["class_counts"])
    return Kept(content["facts"], measured, scene, content["key"])
