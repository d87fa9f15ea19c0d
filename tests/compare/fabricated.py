"""Run folders of a small grid as finished cells leave them, without a training: detections are the perturbed truth."""

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from imbdet.compare.structures import BASELINE, Arm, Plan, RunRecord
from imbdet.config import load_config
from imbdet.config.load import to_yaml
from imbdet.data.datasets.shapes import shapes
from imbdet.evaluation import Detections, evaluate_coco
from imbdet.runs import DETECTIONS

BASE = "baselines/faster_rcnn_shapes"
IMAGES = {"train": 60, "val": 40}
OVERRIDES = tuple(f"data.{split}.num_images={count}" for split, count in IMAGES.items())
ITERATIONS = (5, 10, 20, 40, 60, 80, 100)


METERS = (("share/rare", 0.05), ("positives/per_image", 4.0), ("iou/after_mean", 0.80))


@cache
def records(split):
    return shapes(split=split, num_images=IMAGES[split], **({"class_ratio": 50.0} if split == "train" else {}))


@cache
def config_text():
    return to_yaml(load_config(BASE, (), OVERRIDES))


@dataclass(frozen=True)
class Quality:
    """found: chance of an object; off: deviation of a box in its own sizes; alarms: wrong boxes an image; luck: of a
    seed, in chances of an object. meters: more numbers for every report of training."""

    found: float = 0.7
    off: float = 0.08
    alarms: float = 0.5
    luck: float = 0.01
    step: float = 0.1
    meters: tuple[tuple[str, float], ...] = METERS


def detections_of(quality, seed, arm_number=0):
    """Detections of a run: what is hard to find is the same for all runs, luck and noise are its own."""
    r, rng = records("val"), np.random.default_rng([seed, arm_number])
    hard = np.random.default_rng(99).random(r.num_objects)
    found = np.flatnonzero((hard < quality.found + rng.normal(0, quality.luck)) & ~r.crowd)
    xywh = r.xywh[found].copy()
    xywh[:, :2] += rng.normal(0, quality.off, (len(found), 2)) * xywh[:, 2:]
    alarms = rng.poisson(quality.alarms * len(r))
    image = np.concatenate([r.object_image[found], rng.integers(0, len(r), alarms)])
    boxes = np.vstack([xywh, np.column_stack([rng.uniform(0, 90, (alarms, 2)), np.full((alarms, 2), 20.0)])])
    label = np.concatenate([r.labels[found], rng.integers(0, r.num_classes, alarms)])
    score = np.concatenate([rng.beta(4, 2, len(found)), rng.beta(2, 4, alarms)])
    return Detections(r.image_ids[image], label, score, boxes.clip(0), r.class_names)


def write_cell(root: Path, arm: str, seed: int, quality: Quality = Quality(), number: int = 0, **changes: Any):
    """A finished cell of arm `number`, with its record. changes: fields of the record that are to be others."""
    folder = Path(root) / "runs" / arm / f"seed_{seed}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config_text())
    found = detections_of(quality, seed, number)
    result = evaluate_coco(records("val"), found, records("train"))
    found.save(folder / DETECTIONS, records("val").category_ids)
    evaluation = result.to_dict()
    (folder / "result.json").write_text(json.dumps({"iteration": 100, "metrics": {}, "evaluation": evaluation}))
    environment = {"time": "2026-11-23T08:00:00+00:00", "imbdet": "0.1.0", "packages": {"torch": "2.9.0"}}
    (folder / "environment.json").write_text(json.dumps(environment | {"device": "cpu", "threads": 2}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in _reports(quality, seed, result)))
    record = {
        "metrics": {name: None if value == -1 else value for name, value in result.metrics.items()},
        "per_class": result.per_class,
        "cost": {"iterations": 100, "seconds": 10.0 + seed, "step_seconds": quality.step * (1 + seed / 100)}
        | {"peak_memory_mib": 500.0 + seed, "parameters": 1000},
        "pins": {"evaluator": result.evaluator},
    }
    return RunRecord(arm, seed, str(folder.relative_to(root)), "finished", **record | changes)


def _reports(quality, seed, result):
    lines = []
    for i in ITERATIONS:
        line = {"iteration": i, "split": "train", "loss/total": 100 / i + seed, "loss/cls": 50 / i, "lr": 0.1}
        line |= {"time/step": quality.step, "memory/MiB": 500.0, "iou/before": [1, 2, 3]}
        lines.append(line | {tag: value * (1 + 0.001 * seed) for tag, value in quality.meters})
    for i in (50, 100):
        lines.append({"iteration": i, "split": "val", "AP/AP": result["AP"] * i / 100, "loss/total": 2.0})
    return lines


#: a grid whose answer is known: `good` is better, `same` is as good as the baseline
BETTER = Quality(
    found=0.95,
    off=0.04,
    step=0.15,
    meters=(("share/rare", 0.2), ("positives/per_image", 4.0), ("iou/after_mean", 0.84), ("own/meter", 7.0)),
)
ALIKE = Quality()
ARMS = (Arm(BASELINE), Arm("good", ("focal_loss",)), Arm("same", ("focal_loss",), ("train.x=1",)))
SEEDS = (0, 1, 2)
DRAWS = 40  #: of the images; runs that were measured once with as many are not measured again


def plan(arms=ARMS, seeds=SEEDS):
    return Plan(BASE, tuple(arms), tuple(seeds), OVERRIDES)


def grid(root, arms=ARMS, seeds=SEEDS):
    """Write the cells of a grid; their records."""
    return [
        write_cell(root, arm.name, seed, BETTER if arm.name == "good" else ALIKE, number)
        for number, arm in enumerate(arms)
        for seed in seeds
    ]


def of_two(cells, arms=2, seeds=2):
    """Copies of the records of the first arms and seeds, which a test may change; their plan is
    `plan(ARMS[:arms], SEEDS[:seeds])`."""
    names = [arm.name for arm in ARMS[:arms]]
    return [
        replace(record, cost=dict(record.cost), pins=dict(record.pins))
        for record in cells
        if record.arm in names and record.seed in SEEDS[:seeds]
    ]


def arm(comparison, name):
    return next(result for result in comparison.arms if result.arm.name == name)


def said(comparison):
    return "\n".join(comparison.notes)
