"""A COCO file of any size, to measure readers and evaluators with; no pictures belong to it."""

from __future__ import annotations

import gc
import statistics
import time

import numpy as np

_CHUNK = 20_000  # annotations that are formatted at once
_POLYGONS = 4_000  # distinct outlines; the objects repeat them


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
    polygons = []
    for corners in np.maximum(rng.poisson(points, _POLYGONS), 3):
        turn = np.sort(rng.uniform(0, 2 * np.pi, corners))
        outline = np.stack([320 + 200 * np.cos(turn), 240 + 200 * np.sin(turn)], axis=1).round(2)
        polygons.append("[" + ", ".join(map(str, outline.reshape(-1).tolist())) + "]")
    chosen = rng.integers(0, _POLYGONS, boxes)
    size = np.exp(rng.uniform(np.log(8), np.log(400), (boxes, 2)))
    corner = rng.uniform(0, 1, (boxes, 2)) * (np.array([640, 480]) - np.minimum(size, [639, 479]))
    xywh = np.concatenate([corner, np.minimum(size, [639, 479])], axis=1).round(2)
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
            columns = zip(chosen[part], xywh[part].tolist(), owners[part], labels[part], strict=True)
            rows = [
                f'{{"segmentation": [{polygons[p]}], "area": {round(0.7 * box[2] * box[3], 4)}, "iscrowd": 0, '
                f'"image_id": {image}, "bbox": {box}, "category_id": {category}, "id": {begin + i + 1}}}'
                for i, (p, box, image, category) in enumerate(columns)
            ]
            file.write((", " if begin else "") + ", ".join(rows))
        file.write('], "categories": [')
        file.write(", ".join(f'{{"supercategory": "thing", "id": {c}, "name": "class {c}"}}' for c in category_ids))
        file.write("]}")
        return file.tell()


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
