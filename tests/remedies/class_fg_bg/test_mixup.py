"""Mixup: neutral, by hand, a naive loop over pixels, no objects, its end, and the objects of both."""

import numpy as np
import pytest

from imbdet.config import instantiate
from imbdet.data.datasets.shapes import shapes
from imbdet.data.loader import TrainLoader
from imbdet.remedies.class_fg_bg.mixup import Mixup
from tests.helpers import load
from tests.remedies.mixes import counted, is_the_stream_without, picture, run


def test_neutral_is_the_stream_without():
    records = shapes(num_images=6, image_size=64)
    assert is_the_stream_without(records, Mixup(prob=0, off=0)) and not is_the_stream_without(records, Mixup(off=0))


def test_two_pictures_by_hand():
    """At a share of a half, 100 and 50 make 75; where one does not reach, it counts as black."""
    half = Mixup(off=0, alpha=1e8)
    a = picture([0, 0, 2, 2], [1, 1, 4, 4], value=100, labels=[7, 8])
    b = picture([1, 0, 6, 2], value=50, size=(2, 6), labels=[7])
    image, target = run(half, a, b)
    assert image[2].tolist() == [[75] * 4 + [25] * 2] * 2 + [[50] * 4 + [0] * 2] * 2
    assert target["labels"].tolist() == [7, 8, 7]
    assert target["boxes"].tolist() == [[0, 0, 2, 2], [1, 1, 4, 4], [1, 0, 6, 2]]


@pytest.mark.parametrize("alpha", [0.5, 1.5, 32.0])
def test_a_naive_loop_over_pixels(alpha):
    a, b = counted(size=(5, 7), start=80), counted(size=(6, 3), start=200)
    image, _ = run(Mixup(off=0, alpha=alpha), a, b, seed=3)
    rng = np.random.default_rng(3)
    rng.random()
    share = rng.beta(alpha, alpha)
    for y in range(6):
        for x in range(7):
            value = sum(
                weight * int(part[0, y, x])
                for (part, _), weight in ((a, share), (b, 1 - share))
                if y < part.shape[1] and x < part.shape[2]
            )
            assert abs(int(image[0, y, x]) - value) <= 0.5 + 1e-4
    assert image.shape == (3, 6, 7)


def test_no_objects_and_bad_settings():
    target = run(Mixup(off=0), picture(), picture(value=3))[1]
    assert target["boxes"].shape == (0, 4) and target["labels"].shape == (0,)
    assert run(Mixup(off=0), picture(), picture([0, 0, 1, 1]))[1]["labels"].tolist() == [0]
    for bad in ({"alpha": 0}, {"prob": -1}, {"off": 2}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Mixup(**{"off": 0, **bad})


def test_the_config_ends_it_in_the_last_tenth():
    cfg = load("baselines/faster_rcnn_shapes", "mixup")
    mixup = instantiate(cfg.dataloader.train.mix)
    assert mixup.until == pytest.approx(0.9 * cfg.train.max_iter * cfg.dataloader.train.batch_size)


def test_mechanism_a_picture_has_the_objects_of_two():
    records = shapes(num_images=40, image_size=64)
    loader = TrainLoader(records, 40, num_workers=0, aspect_ratio_grouping=False, mix=Mixup(off=0))
    _, targets = next(loader.iterate())
    mean = sum(len(target["boxes"]) for target in targets) / 40
    assert mean == pytest.approx(2 * records.num_objects / 40, rel=0.2)
