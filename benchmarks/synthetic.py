"""A made-up ground truth with detections of COCO's size, to time and compare evaluators on.

Notable: it has what makes evaluators differ: equal scores, crowd regions, classes without objects, images without
either side, duplicates, areas that are not width * height. It is a pure function of its arguments.

Letters: N images, M objects, D detections, K classes.
"""

import numpy as np

from imbdet.evaluation.detections import Detections
from imbdet.evaluation.ground_truth import GroundTruth

OBJECTS_PER_IMAGE = 7.3  # COCO val2017 has 36781 boxes on 5000 images
WIDTH, HEIGHT = 640, 480


def generate_evaluation_set(
    images: int = 5000, detections: int = 500_000, classes: int = 80, seed: int = 0
) -> tuple[GroundTruth, Detections]:
    """`images` pictures of 640x480 with 7.3 objects each on average, and exactly `detections` detections.

    A third of the detections are shifted copies of objects (one in ten of those with another class), the others
    anywhere; scores are rounded to three digits, so that many are equal. Class k has 1 / (k + 1) as many objects as
    the first.
    """
    if images < 1 or classes < 1 or detections < 0:
        raise ValueError(f"needs at least one image and class, got {images} images and {classes} classes")
    rng = np.random.default_rng(seed)
    objects = round(OBJECTS_PER_IMAGE * images)
    frequency = 1 / np.arange(1, classes + 1)
    xywh = _boxes(rng, objects)
    truth = GroundTruth(
        name=f"generated ({images} images, {detections} detections, seed {seed})",
        class_names=tuple(f"class {k}" for k in range(classes)),
        category_ids=np.sort(rng.choice(np.arange(1, 2 * classes + 1), classes, replace=False)),  # with gaps, as COCO's
        image_ids=rng.permutation(np.arange(10, 10 + 3 * images, 3)),
        widths=np.full(images, float(WIDTH)),
        heights=np.full(images, float(HEIGHT)),
        image=np.sort(rng.integers(0, images, objects)),
        label=rng.choice(classes, objects, p=frequency / frequency.sum()),
        xywh=xywh,
        area=np.round(xywh[:, 2] * xywh[:, 3] * rng.uniform(0.4, 1, objects), 2),
        crowd=rng.random(objects) < 0.01,
    )
    copies = detections // 3 if objects else 0
    source = rng.integers(0, max(objects, 1), copies)
    box = xywh[source]
    shift = rng.normal(0, 0.08, (copies, 4)) * np.hstack([box[:, 2:], box[:, 2:]])
    other_class = rng.random(copies) < 0.1
    label = np.where(other_class, rng.integers(0, classes, copies), truth.label[source])
    rest = detections - copies
    order = rng.permutation(detections)
    found = Detections(
        image_id=truth.image_ids[np.concatenate([truth.image[source], rng.integers(0, images, rest)])][order],
        label=np.concatenate([label, rng.integers(0, classes, rest)])[order],
        score=np.round(np.concatenate([rng.beta(3, 2, copies), rng.beta(1, 5, rest)]), 3)[order],
        xywh=np.round(np.vstack([_inside(box + shift), _boxes(rng, rest)]), 2)[order],
        class_names=truth.class_names,
        source="generated detections",
    )
    return truth, found


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 4) XYWH inside the picture, sides log-uniform from 8 to 400 pixels."""
    size = np.exp(rng.uniform(np.log(8), np.log(400), (count, 2)))
    corner = rng.random((count, 2)) * (np.array([WIDTH, HEIGHT]) - size)
    return np.round(np.hstack([corner, size]), 2)


def _inside(xywh: np.ndarray) -> np.ndarray:
    corner = xywh[:, :2].clip(0)
    return np.hstack([corner, xywh[:, 2:].clip(1)])
