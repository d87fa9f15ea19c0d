"""A COCO file of any size, to measure readers and evaluators with; no pictures belong to it."""

from __future__ import annotations

import gc
import statistics
import time

import numpy as np

_CHUNK = 20_000  # annotations that are formatted at once
_OUTLINES = 20_000  # distinct ones; the objects repeat them


def generate_coco_json(path: str, images: int = 118_000, boxes: int = 860_000, seed: int = 0, points: int = 12) -> int:
    """Write a COCO ground truth file like instances_train2017.json: 80 classes with gaps in their ids, long tailed.

    Args:
        path: the file to write.
        images, boxes: how many.
        seed: the content is a pure function of it and the numbers.
        points: mean number of corners of an object's outline; COCO's own has about 22 (449 MB for the default numbers).

    Returns:
        The size of the file in bytes.
    """
    rng = np.random.default_rng(seed)
    category_ids = np.sort(rng.choice(np.arange(1, 91), 80, replace=False))
    frequencies = 1 / np.arange(1, 81)
    labels = rng.choice(category_ids, boxes, p=frequencies / frequencies.sum())
    image_ids = np.sort(rng.choice(600_000, images, replace=False)) + 1
    owners = rng.choice(image_ids, boxes) if images else np.empty(0, dtype=int)
    outlines = [_outline(rng, max(corners, 4)) for corners in rng.poisson(points, _OUTLINES)]
    chosen = rng.integers(0, _OUTLINES, boxes)
    with open(path, "w", encoding="ascii") as file:
        file.write('{"info": {"description": "generated"}, "licenses": [], "images": [')
        rows = (
            f'{{"license": 3, "file_name": "{i:012d}.jpg", "coco_url": "http://images.example.org/{i:012d}.jpg", '
            f'"height": 480, "width": 640, "date_captured": "2013-11-14 17:02:52", "id": {i}}}'
            for i in image_ids.tolist()
        )
        file.write(", ".join(rows))
        file.write('], "annotations": [')
        for begin in range(0, boxes, _CHUNK):
            part = slice(begin, begin + _CHUNK)
            columns = zip(chosen[part], owners[part], labels[part], strict=True)
            rows = [
                f'{{{outlines[o]}, "iscrowd": 0, "image_id": {image}, "category_id": {category}, "id": {i}}}'
                for i, (o, image, category) in enumerate(columns, begin + 1)
            ]
            file.write((", " if begin else "") + ", ".join(rows))
        file.write('], "categories": [')
        file.write(", ".join(f'{{"supercategory": "thing", "id": {c}, "name": "class {c}"}}' for c in category_ids))
        file.write("]}")
        return file.tell()


def _outline(rng: np.random.Generator, corners: int) -> str:
    """The JSON keys of one object's shape: a polygon around an ellipse in a 640x480 picture, its area and its box."""
    radius = np.exp(rng.uniform(np.log(4), np.log(200), 2))
    center = radius + rng.uniform(0, 1, 2) * (np.array([640, 480]) - 2 * radius)
    turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
    points = (center + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)).round(2)
    low, high = points.min(axis=0), points.max(axis=0)
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    box = [*low.tolist(), *np.maximum(high - low, 0.01).round(2).tolist()]
    return f'"segmentation": [{points.reshape(-1).tolist()}], "area": {max(area, 0.01):.4f}, "bbox": {box}'


def benchmark_reader(path: str, repeats: int = 3) -> dict:
    """Time `load_coco` against `pycocotools.coco.COCO` on one file, alternating in this process.

    Returns:
        {"ours_s", "pycocotools_s": medians in seconds, "ratio": median of the pairs' ratios, "repeats"}.
    """
    import contextlib
    import io

    from pycocotools.coco import COCO

    from imbdet.data.datasets.coco import _load

    def ours():
        return _load(path, ".", True, "benchmark", None)

    def pycocotools():
        with contextlib.redirect_stdout(io.StringIO()):
            return COCO(path)

    times: dict[str, list[float]] = {"ours": [], "pycocotools": []}
    for _ in range(repeats):
        for name, read in (("ours", ours), ("pycocotools", pycocotools)):
            gc.collect()
            begin = time.perf_counter()
            result = read()
            times[name].append(time.perf_counter() - begin)
            del result  # freeing pycocotools' objects is not counted against it
    ratios = [theirs / our for our, theirs in zip(times["ours"], times["pycocotools"], strict=True)]
    return {
        "ours_s": statistics.median(times["ours"]),
        "pycocotools_s": statistics.median(times["pycocotools"]),
        "ratio": statistics.median(ratios),
        "repeats": repeats,
    }
