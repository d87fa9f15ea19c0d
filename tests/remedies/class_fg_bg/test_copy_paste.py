"""Copy-paste: neutral, by hand, a naive loop over pixels, no objects, and how many objects a picture has."""

import numpy as np
import pytest
import torch

from imbdet.data.augment import resize
from imbdet.data.datasets.shapes import shapes
from imbdet.data.loader import TrainLoader
from imbdet.remedies.class_fg_bg.copy_paste import CopyPaste
from tests.remedies.mixes import counted, is_the_stream_without, picture, run

AS_IT_IS = {"scale": (1, 1)}


def pasted(mix, *pairs):
    """The first result of some seeds in which something was pasted."""
    for seed in range(20):
        found = run(mix, *pairs, seed=seed)
        if not torch.equal(found[0], pairs[0][0]):
            return found
    raise AssertionError("nothing was ever pasted")


def test_neutral_is_the_stream_without():
    records = shapes(num_images=6, image_size=64)
    assert is_the_stream_without(records, CopyPaste(prob=0)) and not is_the_stream_without(records, CopyPaste())


def test_by_hand_on_four_by_four():
    """The square in the middle of another picture covers one object as a whole, and half of another."""
    below = picture([1, 1, 3, 2], [0, 1, 2, 3], [0, 0, 2, 2], labels=[4, 5, 6])
    image, target = pasted(CopyPaste(**AS_IT_IS), below, counted([1, 1, 3, 3], start=100, labels=[9]))
    assert image[0].tolist() == [[0] * 4, [0, 105, 106, 0], [0, 109, 110, 0], [0] * 4]
    assert target["labels"].tolist() == [5, 6, 9]
    assert target["boxes"].tolist() == [[0, 1, 1, 3], [0, 0, 2, 2], [1, 1, 3, 3]]


def test_what_shows_in_a_pasted_rectangle_comes_along():
    """Of two objects one is drawn. A quarter of the other lies in its rectangle, and is boxed if that is enough."""
    other = picture([0, 0, 2, 2], [1, 1, 3, 3], value=9, labels=[1, 2])
    for least, labels in ((0.25, [1, 2]), (0.3, [1])):
        mix = CopyPaste(**AS_IT_IS, most=1, least=least)
        found = [run(mix, picture(), other, seed=seed) for seed in range(40)]
        first = next(target for image, target in found if image[0, 0, 0] == 9)
        assert first["labels"].tolist() == labels and first["boxes"][0].tolist() == [0, 0, 2, 2]
    assert {len(target["boxes"]) for _, target in found} == {0, 1}


@pytest.mark.parametrize("seed", range(6))
def test_a_naive_loop_over_pixels(seed):
    """Larger and smaller pictures; every pixel of the result is of the one or the other, with the boxes that say so."""
    below, other = picture(value=7, size=(12, 16)), counted([2, 1, 8, 5], [9, 4, 14, 9], size=(10, 15), start=20)
    image, target = run(CopyPaste(scale=(0.4, 2.0), least=0.0), below, other, seed=seed)
    rng = np.random.default_rng(seed)
    rng.random()
    fit = rng.uniform(0.4, 2.0) * min(12 / 10, 16 / 15)
    part, objects = resize(*other, max(round(10 * fit), 1), max(round(15 * fit), 1))
    rooms = 16 - part.shape[2], 12 - part.shape[1]
    x0, y0 = (int(rng.integers(min(room, 0), max(room, 0) + 1)) for room in rooms)
    boxes = objects["boxes"] + torch.tensor([x0, y0, x0, y0])
    boxes = torch.minimum(boxes.clamp(min=0), torch.tensor([16.0, 12, 16, 12]))
    assert all(any(torch.allclose(box, b, atol=1e-4) for b in boxes) for box in target["boxes"])
    for y in range(12):
        for x in range(16):
            inside = any(x1 < x + 1 and x < x2 and y1 < y + 1 and y < y2 for x1, y1, x2, y2 in target["boxes"].tolist())
            assert int(image[0, y, x]) == (int(part[0, y - y0, x - x0]) if inside else 7)


def test_no_objects_and_bad_settings():
    pair = picture([0, 0, 2, 2])
    assert run(CopyPaste(), pair, picture(value=5))[0] is pair[0]
    assert pasted(CopyPaste(**AS_IT_IS), picture(), counted([0, 0, 4, 4], start=1))[1]["labels"].tolist() == [0]
    assert all(run(CopyPaste(most=0), pair, pair, seed=seed)[0] is pair[0] for seed in range(5))
    for bad in ({"scale": (0, 1)}, {"most": -1}, {"least": -0.1}, {"prob": 2}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            CopyPaste(**bad)


def test_mechanism_a_picture_has_half_as_many_objects_again():
    """Of the m objects of another picture m / 2 are drawn on average; they cover some."""
    records = shapes(num_images=60, image_size=64)
    loader = TrainLoader(records, 60, num_workers=0, aspect_ratio_grouping=False, mix=CopyPaste(scale=(0.5, 1.0)))
    _, targets = next(loader.iterate())
    mean = sum(len(target["boxes"]) for target in targets) / 60
    assert 1.2 < mean / (records.num_objects / 60) < 1.7
