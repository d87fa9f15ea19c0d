"""Mosaic: neutral, by hand, a naive loop over pixels, no objects, its end, and the sizes that it shows."""

import numpy as np
import pytest
import torch

from imbdet.config import instantiate
from imbdet.data.augment import resize
from imbdet.data.datasets.shapes import shapes
from imbdet.data.loader import Draw
from imbdet.remedies.scale.mosaic import Mosaic
from tests.helpers import load
from tests.remedies.mixes import counted, is_the_stream_without, picture, run

FIXED = {"off": 0, "center": (1, 1), "scale": (1, 1)}


def test_neutral_is_the_stream_without():
    records = shapes(num_images=6, image_size=64)
    assert is_the_stream_without(records, Mosaic(prob=0, off=0)) and not is_the_stream_without(records, Mosaic(off=0))


def test_four_pictures_around_the_middle_by_hand():
    """Pictures of 4 x 4 meet at (2, 2), so each shows the quarter at its inner corner, with what lies there."""
    pairs = [counted([0, 0, 4, 4], start=k * 16, labels=[k]) for k in range(4)]
    image, target = run(Mosaic(**FIXED), *pairs)
    assert image[0].tolist() == [
        [10, 11, 16 + 8, 16 + 9],
        [14, 15, 16 + 12, 16 + 13],
        [32 + 2, 32 + 3, 48 + 0, 48 + 1],
        [32 + 6, 32 + 7, 48 + 4, 48 + 5],
    ]
    assert target["labels"].tolist() == [0, 1, 2, 3], "one of each of the three that are drawn"
    assert target["boxes"].tolist() == [[0, 0, 2, 2], [2, 0, 4, 2], [0, 2, 2, 4], [2, 2, 4, 4]]
    small = Mosaic(off=0, center=(1, 1), scale=(0.5, 0.5))
    image, target = run(small, *(picture([1, 1, 3, 4], value=k, labels=[k]) for k in range(4)))
    assert image[0].tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 3, 3]] * 2
    assert target["boxes"].tolist() == [[0.5, 0.5, 1.5, 2], [2.5, 0.5, 3.5, 2], [0.5, 2.5, 1.5, 4], [2.5, 2.5, 3.5, 4]]


def test_at_the_ends_of_the_center_one_picture_is_all():
    """With c at the left upper corner, the picture right and below fills the result."""
    pairs = [counted([1, 0, 2, 2], start=k * 16, labels=[k]) for k in range(4)]
    for center, k in (((0.5, 0.5), 3), ((1.5, 1.5), 0)):
        image, target = run(Mosaic(off=0, center=center, scale=(1, 1)), *pairs)
        assert torch.equal(image, pairs[k][0]) and target["labels"].tolist() == [k]
        assert target["boxes"].tolist() == [[1, 0, 2, 2]]


def test_an_object_of_which_too_little_is_seen_is_dropped():
    """A quarter of each is seen."""
    pairs = [picture([0, 0, 4, 4], labels=[k]) for k in range(4)]
    assert len(run(Mosaic(**FIXED, least=0.25), *pairs)[1]["boxes"]) == 4
    found = run(Mosaic(**FIXED, least=0.26), *pairs)[1]
    assert found["boxes"].shape == (0, 4) and found["labels"].shape == (0,)


@pytest.mark.parametrize("seed", range(4))
def test_a_naive_loop_over_pixels(seed):
    """Pictures of other sizes; every pixel of the result is looked up on the canvas of twice the size."""
    sizes = [(12, 16), (8, 8), (20, 6), (5, 30)]
    pairs = [counted([1, 1, 4, 3], size=size, start=k, labels=[k]) for k, size in enumerate(sizes)]
    image, target = run(Mosaic(off=0, least=0.0), *pairs, seed=seed)
    rng = np.random.default_rng(seed)
    rng.random()
    scale, center = rng.uniform(0.5, 1.5), rng.uniform(0.5, 1.5, 2)
    corner = [round(float((c * scale - (2 * scale - 1) / 2) * side)) for c, side in zip(center, (16, 12), strict=True)]
    want, boxes = torch.full((3, 12, 16), 114, dtype=torch.uint8), {}
    for k, (part, objects) in enumerate(pairs):
        fit = scale * min(12 / sizes[k][0], 16 / sizes[k][1])
        height, width = (max(round(side * fit), 1) for side in sizes[k])
        part, objects = resize(part, objects, height, width)
        x0, y0 = corner[0] - width * (k in (0, 2)), corner[1] - height * (k in (0, 1))
        for y in range(12):
            for x in range(16):
                if 0 <= x - x0 < width and 0 <= y - y0 < height:
                    want[:, y, x] = part[:, y - y0, x - x0]
        x1, y1, x2, y2 = objects["boxes"][0].tolist()
        box = [max(x1 + x0, 0), max(y1 + y0, 0), min(x2 + x0, 16), min(y2 + y0, 12)]
        if box[2] > box[0] and box[3] > box[1]:
            boxes[k] = box
    assert torch.equal(image, want)
    assert target["labels"].tolist() == list(boxes)
    assert torch.allclose(target["boxes"], torch.tensor(list(boxes.values())).reshape(-1, 4), atol=1e-5)


def test_no_objects_and_bad_settings():
    image, target = run(Mosaic(off=0), picture(), picture(value=9))
    assert image.shape == (3, 4, 4) and target["boxes"].shape == (0, 4)
    for bad in ({"center": (1, 3)}, {"scale": (0, 1)}, {"scale": (2, 1)}, {"least": 2}, {"fill": 300}, {"prob": 2}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Mosaic(**{"off": 0, **bad})


def test_the_config_ends_it_in_the_last_tenth():
    cfg = load("baselines/faster_rcnn_shapes", "mosaic")
    mosaic = instantiate(cfg.dataloader.train.mix)
    assert mosaic.until == pytest.approx(0.9 * cfg.train.max_iter * cfg.dataloader.train.batch_size)
    pair = counted()
    assert run(mosaic, pair, position=mosaic.until)[0] is pair[0]


def test_mechanism_objects_come_in_more_sizes():
    """The scale is drawn from 0.5 to 1.5: sizes of whole objects spread by that much more."""
    records, mosaic = shapes(num_images=40), Mosaic(off=0, least=1.0)
    before, after = [], []
    for i in range(len(records)):
        pair = records.images[i], records.target(i)
        found = mosaic(*pair, Draw(records, i), np.random.default_rng(i))[1]
        for sizes, target in ((before, pair[1]), (after, found)):
            sizes += (target["boxes"][:, 2:] - target["boxes"][:, :2]).prod(dim=1).sqrt().log().tolist()
    assert np.std(after) > 1.1 * np.std(before) and np.mean(after) < np.mean(before)
