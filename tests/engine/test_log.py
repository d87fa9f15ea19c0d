import json

import pytest
import torch

from imbdet.engine.log import RunLog, read_metrics


def scalars_of(folder, split):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tb" / split), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}, events.Tags()


def test_both_stores_hold_the_same(tmp_path):
    histogram = {"iou/before": {"edges": [0.5, 0.75, 1.0], "counts": [3, 1]}}
    log = RunLog(tmp_path)
    for iteration in (1, 2):
        log.write(iteration, "train", {"loss/total": 0.5 * iteration, "AP/APl": float("nan")}, histogram)
    log.write(2, "val", {"loss/total": 3.0})
    log.pictures(2, "val", {"pictures/7": torch.zeros(3, 8, 8, dtype=torch.uint8)})
    log.pictures(2, "val", {"pictures/8": lambda: torch.zeros(3, 8, 8, dtype=torch.uint8)})
    log.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"iteration": 1, "split": "train", "loss/total": 0.5, "AP/APl": None, "iou/before": [3, 1]},
        {"iteration": 2, "split": "train", "loss/total": 1.0, "AP/APl": None, "iou/before": [3, 1]},
        {"iteration": 2, "split": "val", "loss/total": 3.0},
    ]
    train, tags = scalars_of(tmp_path, "train")
    assert train == {"loss/total": [(1, 0.5), (2, 1.0)]} and tags["histograms"] == ["iou/before"]
    val, tags = scalars_of(tmp_path, "val")  # a writer per split, so that both curves lie on the plot of their tag
    assert val == {"loss/total": [(2, 3.0)]} and tags["images"] == ["pictures/7", "pictures/8"]


def test_a_resumed_log_holds_no_iteration_twice(tmp_path):
    log = RunLog(tmp_path)
    for iteration in (1, 2, 3):
        log.write(iteration, "train", {"x": float(iteration)})
    log.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 4, "spl')  # as a kill leaves it
    log = RunLog(tmp_path, start=2)
    log.write(3, "train", {"x": 30.0})
    log.close()
    assert [(line["iteration"], line["x"]) for line in read_metrics(tmp_path / "metrics.jsonl")] == [
        (1, 1),
        (2, 2),
        (3, 30),
    ]
    assert scalars_of(tmp_path, "train")[0]["x"] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_without_tensorboard(tmp_path):
    log = RunLog(tmp_path, tensorboard=False)
    log.write(1, "train", {"x": 1.0})
    log.pictures(1, "val", {"p": torch.zeros(3, 4, 4, dtype=torch.uint8)})
    log.pictures(1, "train", {"p": lambda: pytest.fail("drawn for nobody")})
    log.close()
    assert not (tmp_path / "tb").exists() and json.loads((tmp_path / "metrics.jsonl").read_text())["x"] == 1.0


def test_a_failed_write_says_what_to_do(tmp_path):
    log = RunLog(tmp_path, tensorboard=False)
    log.file.close()
    log.file = open("/dev/full", "w")  # a disk without space
    with pytest.raises(OSError, match="cannot write .*metrics.jsonl: No space left.*--resume"):
        log.write(1, "train", {"x": 1.0})
