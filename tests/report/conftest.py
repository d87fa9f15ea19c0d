"""A small run folder, as a training leaves it, and the records it was evaluated on."""

import json

import numpy as np
import pytest

from imbdet.data.datasets.shapes import shapes
from imbdet.evaluation import Detections, evaluate_coco


@pytest.fixture(scope="session")
def val_records():
    return shapes(split="val", num_images=12)


@pytest.fixture(scope="session")
def val_detections(val_records):
    """Every true box, moved by a tenth of its size, with falling scores; those of the last class are called class 0."""
    r = val_records
    keep = ~r.crowd
    xywh = r.xywh[keep].copy()
    xywh[:, 0] += 0.1 * xywh[:, 2]
    labels = np.where(r.labels[keep] == r.num_classes - 1, 0, r.labels[keep])
    scores = np.linspace(0.99, 0.5, len(labels))
    return Detections(r.image_ids[r.object_image[keep]], labels, scores, xywh, r.class_names)


@pytest.fixture(scope="session")
def evaluation(val_records, val_detections):
    return evaluate_coco(val_records, val_detections, shapes(split="train", num_images=60)).to_dict()


@pytest.fixture(scope="session")
def make_run_dir(evaluation):
    """`make(parent)` writes metrics.jsonl with two named criteria, result.json, environment.json and config.yaml."""

    def make(parent):
        folder = parent / "a <run>"
        folder.mkdir()
        lines = [train_line(i) for i in range(20, 101, 20)]
        lines += [{"iteration": 100, "split": "val", "AP/AP": 0.25, "AP/AP50": 0.5, "AP/APr": None}]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "result.json").write_text(json.dumps({"iteration": 100, "metrics": {}, "evaluation": evaluation}))
        packages = {"torch": "2.9.0"}
        environment = {"time": "2026-11-23T08:00:00+00:00", "device": "cpu", "threads": 2, "packages": packages}
        (folder / "environment.json").write_text(json.dumps(environment))
        (folder / "config.yaml").write_text("train:\n  max_iter: 100\nremedies: [focal_loss]\n")
        return folder

    return make


@pytest.fixture
def run_dir(tmp_path, make_run_dir):
    return make_run_dir(tmp_path)


def train_line(iteration):
    """A report of training, with two criteria."""
    line = {"iteration": iteration, "split": "train", "loss/total": 3.0 / iteration}
    line |= {"loss/rpn_cls": 1.0 / iteration, "loss/cls": 2.0 / iteration}
    for name in ("rpn", "roi"):
        line |= {f"share/{name}_background": 0.75, f"share/{name}_foreground": 0.25}
        line |= {f"positives/{name}_per_image": 4.0, f"positives/{name}_level_0": 3.0}
        line |= {f"positives/{name}_level_1": 1.0, f"iou/{name}_before": [4, 2, 1], f"iou/{name}_after": [1, 2, 4]}
    return line
