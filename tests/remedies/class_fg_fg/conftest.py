"""Records made from nothing but the labels in each image."""

import numpy as np
import pytest

from imbdet.data.datasets.coco import records_from_coco

NAMES = ["circle", "star", "ring", "bar"]


def records_of(images, num_classes=3, crowd=()):
    """images: labels of the objects of each image, e.g. [[0, 0, 1], []]; crowd: (image, place) of those to be crowd."""
    annotations = [
        {"image_id": i + 1, "category_id": label + 1, "bbox": [0, 0, 10, 40], "area": 400, "iscrowd": (i, j) in crowd}
        for i, labels in enumerate(images)
        for j, label in enumerate(labels)
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation.update(id=number, iscrowd=int(annotation["iscrowd"]))
    pictures = [{"id": i + 1, "file_name": f"{i}.jpg", "width": 100, "height": 100} for i in range(len(images))]
    categories = [{"id": k + 1, "name": NAMES[k]} for k in range(num_classes)]
    return records_from_coco({"images": pictures, "annotations": annotations, "categories": categories}, "made", ".")


def random_images(number=60, num_classes=4, seed=0):
    """Labels of images with 0 to 5 objects each, class k about 3^k times rarer than class 0."""
    rng = np.random.default_rng(seed)
    p = 3.0 ** -np.arange(num_classes)
    return [rng.choice(num_classes, rng.integers(0, 6), p=p / p.sum()).tolist() for _ in range(number)]


def count_boxes(images, indices, num_classes=4):
    """Boxes of each class in the images of these indices, one by one."""
    counts = [0] * num_classes
    for index in indices:
        for label in images[index]:
            counts[label] += 1
    return counts


@pytest.fixture
def made():
    """The three helpers above."""

    class Made:
        records = staticmethod(records_of)
        random_images = staticmethod(random_images)
        count_boxes = staticmethod(count_boxes)

    return Made
