"""Predictions for other tools: numbers by hand in each form, a frame of a video has a file of its own."""

import json

import pytest
import torch

from imbdet.evaluation.predictions import save_predictions
from imbdet.evaluation.video import VideoWriter, is_video, read_frames

DOCUMENT = {
    "images": [
        {"id": 1, "file_name": "in/a.jpg", "width": 200, "height": 100, "drawn": "a.jpg"},
        {"id": 2, "file_name": "in/clip.mp4#12", "width": 10, "height": 10, "drawn": "clip.mp4#12"},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 7, "category_name": "cat", "bbox": [20, 10, 40, 50], "score": 0.75}
    ],
    "categories": [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}],
}


def test_every_form_by_hand(tmp_path):
    """The box 20, 10, 40 x 50 of 200 x 100 pixels: shares 0.1, 0.1, 0.2, 0.5; its center 0.2, 0.35."""
    coco, yolo, fiftyone, studio = save_predictions(DOCUMENT, tmp_path, ["coco", "yolo", "fiftyone", "label_studio"])
    assert json.loads(coco.read_text()) == [{"image_id": 1, "category_id": 7, "bbox": [20, 10, 40, 50], "score": 0.75}]
    assert (yolo / "a.txt").read_text() == "1 0.200000 0.350000 0.200000 0.500000 0.750000\n"
    assert (yolo / "clip_12.txt").read_text() == "" and (tmp_path / "classes.txt").read_text() == "dog\ncat\n"
    told = json.loads(fiftyone.read_text())
    assert told["classes"] == ["dog", "cat"] and told["labels"].keys() == {"a"}  # no frame of a video
    row = {"label": "cat", "bounding_box": [0.1, 0.1, 0.2, 0.5], "confidence": 0.75}
    assert told["labels"]["a"] == [row]
    task, empty = json.loads(studio.read_text())
    (one,) = task["predictions"][0]["result"]
    assert one["value"] == {
        "x": 10, "y": 10, "width": 20, "height": 50, "rotation": 0, "rectanglelabels": ["cat"]
    }  # fmt: skip
    assert one["original_width"] == 200 and task["predictions"][0]["score"] == 0.75
    assert empty["predictions"][0]["result"] == []


def test_a_video_that_is_written_is_read(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    with VideoWriter(path, 12.5) as writer:
        for value in (0, 100, 200):
            writer.add(torch.full((3, 33, 64), value, dtype=torch.uint8))
    rate, count, frames = read_frames(path)
    values = [frame.float().mean() for frame in frames]
    assert (rate, count) == (12.5, 3) and torch.allclose(torch.stack(values), torch.tensor([0.0, 100, 200]), atol=6)


def test_what_is_no_video(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a.mp4 holds no video that can be read"):
        read_frames(tmp_path / "a.mp4")
    assert is_video("A.MOV") and not is_video("a.gif")
