"""A tiny COCO data set to break in tests: two pictures of noise, three boxes, two classes with gaps in their ids."""

import json

import numpy as np
import pytest
from PIL import Image


def tiny_coco():
    return {
        "images": [
            {"id": 5, "file_name": "a.png", "width": 64, "height": 48},
            {"id": 3, "file_name": "b.png", "width": 40, "height": 50},
        ],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 9, "bbox": [1, 2, 10, 20], "area": 200, "iscrowd": 0},
            {"id": 2, "image_id": 5, "category_id": 2, "bbox": [0, 0, 30.5, 40], "area": 1220, "iscrowd": 0},
            {"id": 3, "image_id": 3, "category_id": 2, "bbox": [5, 5, 5, 5], "area": 25, "iscrowd": 0},
        ],
        "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}],
    }


def noise(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def coco():
    return tiny_coco()


@pytest.fixture
def write(tmp_path):
    """write(content, name) puts a JSON file (or text, or bytes) into the test's folder and returns its path."""

    def write_file(content, name="train.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write_file


@pytest.fixture
def pictures(tmp_path):
    """pictures(coco, folder) writes a picture of noise for each image of a COCO dict and returns the folder."""

    def write_pictures(content, folder="images", seed=0):
        for i, image in enumerate(content["images"]):
            path = tmp_path / folder / image["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            noise(image["width"], image["height"], seed * 100 + i).save(path)
        return str(tmp_path / folder)

    return write_pictures


def put(root, picture, labels, text, size=(40, 20)):
    path = root / picture
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(*size).save(path)
    if text is not None:
        (root / labels).parent.mkdir(parents=True, exist_ok=True)
        (root / labels).write_text(text)
