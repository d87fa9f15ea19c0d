"""Which images and predictions are shown, and what each box is called."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from imbdet.evaluation.detections import score_threshold
from imbdet.report import pictures

NAMES = ("a", "b")


def kinds(boxes):
    return [(box.kind, box.label) for box in boxes]


def test_judge_by_class_and_iou():
    """Object of class a at 0..10: a detection at 2..12 has IoU 8/12 = 0.67, found; at 4..14, 6/14 = 0.43, false."""
    truth, labels = np.array([[0.0, 0, 10, 10]]), np.array([0])
    near, far = [2.0, 0, 10, 10], [4.0, 0, 10, 10]

    def judged(box, label):
        return kinds(pictures.judge(np.array([box]), np.array([label]), np.array([0.9]), truth, labels, NAMES))

    assert judged(near, 0) == [("true", "a"), ("found", "a")]
    assert judged(far, 0) == [("missed", "a"), ("false", "a")]
    assert judged(near, 1) == [("missed", "a"), ("false", "b")]


def test_second_detection_of_one_object_is_false():
    truth, labels = np.array([[0.0, 0, 10, 10]]), np.array([0])
    boxes = pictures.judge(
        np.tile([0.0, 0, 10, 10], (2, 1)), np.zeros(2, int), np.array([0.9, 0.8]), truth, labels, NAMES
    )
    assert kinds(boxes) == [("true", "a"), ("found", "a"), ("false", "a")]


def test_judge_without_objects_or_detections():
    none, no_labels = np.zeros((0, 4)), np.zeros(0, int)
    assert pictures.judge(none, no_labels, np.zeros(0), none, no_labels, NAMES) == []
    boxes = pictures.judge(np.array([[0.0, 0, 4, 4]]), np.array([1]), np.array([0.5]), none, no_labels, NAMES)
    assert kinds(boxes) == [("false", "b")]


@pytest.mark.parametrize(("objects", "expected"), [(2, 0.8), (1, 0.9), (4, 0.0), (9, 0.0), (0, 0.0)])
def test_score_threshold_draws_as_many_as_there_are_objects(objects, expected):
    assert score_threshold(np.array([0.1, 0.9, 0.8, 0.3]), objects) == expected


def test_every_class_is_shown_if_there_is_room(val_records):
    chosen = pictures.choose_images(val_records, 11)
    assert len(chosen) == len(set(chosen)) == 11 and chosen == sorted(chosen)
    shown = {int(label) for i in chosen for label in val_records.target(i)["labels"]}
    assert shown == set(val_records.labels.tolist())
    assert len(pictures.choose_images(val_records, 3)) == 3


def test_pictures_keep_boxes_exact_when_they_shrink(val_records, val_detections):
    shown, threshold = pictures.make_pictures(val_records, val_detections, limit=4)
    assert len(shown) == 4 and threshold == 0.0  # one detection an object: all are drawn
    last = val_records.class_names[-1]
    for picture in shown:
        assert {box.label for box in picture.boxes if box.kind == "missed"} <= {last}
        assert picture.count("found") == picture.count("true")


def test_jpeg_is_the_picture_at_most_480_wide():
    image = torch.zeros(3, 300, 960, dtype=torch.uint8)
    image[0] = 200
    uri = pictures.jpeg_uri(image)
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert picture.size == (480, 150)
    assert np.abs(np.asarray(picture, dtype=int) - [200, 0, 0]).max() <= 3


def test_crowded_pictures_carry_no_names():
    box = pictures.Box("found", 0, 0, 1, 1, "a", 0.5)
    true = pictures.Box("true", 0, 0, 1, 1, "a")
    assert pictures.Picture("x", "", 9, 9, (box,) * 8 + (true,) * 8).named_boxes == (box,) * 8
    assert pictures.Picture("x", "", 9, 9, (box,) * 9).named_boxes == ()
