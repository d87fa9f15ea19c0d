"""Parts of a picture over another: what can still be seen, by hand and by a naive loop; when a mix acts."""

import numpy as np
import pytest
import torch

from imbdet import testing
from imbdet.data.mixing import OccasionalMix, images_in_training, joined, paste, visible, whole_pixels


def target(*boxes):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {"boxes": boxes, "labels": torch.arange(len(boxes)), "image_id": 4}


def test_a_part_over_four_by_four():
    """A part of 2 x 2 at (1, 1): one pixel of the first box is covered, one column of the second, all of the third."""
    image = torch.arange(16, dtype=torch.uint8).view(1, 4, 4).repeat(3, 1, 1)
    below = target([0, 0, 2, 2], [0, 1, 2, 3], [1, 1, 3, 2], [3, 3, 4, 4], [1.5, 0, 2.5, 4])
    found, seen = paste(image, below, torch.full((3, 2, 2), 99, dtype=torch.uint8), 1, 1, 0.1)
    assert found[0].tolist() == [[0, 1, 2, 3], [4, 99, 99, 7], [8, 99, 99, 11], [12, 13, 14, 15]]
    assert seen["labels"].tolist() == [0, 1, 3, 4] and seen["image_id"] == 4
    assert seen["boxes"].tolist() == [[0, 0, 2, 2], [0, 1, 1, 3], [3, 3, 4, 4], [1.5, 0, 2.5, 4]]
    assert int(image.sum()) == 3 * 120 and below["boxes"][1].tolist() == [0, 1, 2, 3]
    assert paste(image, below, found[:, 1:3, 1:3], 1, 1, 0.6)[1]["labels"].tolist() == [0, 3]
    assert paste(image, target(), found[:, 1:3, 1:3], 1, 1, 0.1)[1]["boxes"].shape == (0, 4)


@pytest.mark.parametrize("least", [0.0, 0.3, 1.0])
def test_visible_is_a_naive_loop(least):
    rng = np.random.default_rng(0)
    covered = rng.random((64, 64)) < 0.5
    covered[20:60, 5:40] = True
    below = {"boxes": testing.random_boxes(20, seed=2).clamp(0, 64), "labels": torch.arange(20)}
    found = visible(below, covered, least)
    boxes, labels = [], []
    for (x1, y1, x2, y2), label in zip(below["boxes"].tolist(), range(20), strict=True):
        cells = [(x, y) for y in range(int(y1), int(np.ceil(y2))) for x in range(int(x1), int(np.ceil(x2)))]
        seen = [(x, y) for x, y in cells if not covered[y, x]]
        if seen and len(seen) >= least * len(cells):
            xs, ys = zip(*seen, strict=True)
            boxes.append([max(x1, min(xs)), max(y1, min(ys)), min(x2, max(xs) + 1), min(y2, max(ys) + 1)])
            labels.append(label)
    assert found["labels"].tolist() == labels and len(labels) < 20
    assert torch.allclose(found["boxes"], torch.tensor(boxes).reshape(-1, 4))


def test_rectangles_of_whole_pixels_stay_in_the_picture():
    assert whole_pixels(torch.tensor([0.4, 1.0, 2.2, 3.9]), 4, 4) == (0, 1, 3, 4)
    assert whole_pixels(torch.tensor([-0.4, 1.0, 4.2, 3.9]), 3, 4) == (0, 1, 4, 3)


def test_joined_keeps_the_rest():
    both = joined(target([0, 0, 1, 1]), target([1, 1, 2, 2], [0, 0, 3, 3]))
    assert both["boxes"].shape == (3, 4) and both["labels"].tolist() == [0, 0, 1] and both["image_id"] == 4


class Black(OccasionalMix):
    def mixed(self, image, target, draw, rng):
        return torch.zeros_like(image), target


class At:
    def __init__(self, position):
        self.position = position


def test_when_it_acts():
    """Half of the pictures at prob 0.5, and of 100 none from the ninetieth on at off 0.1."""
    image, rng = torch.ones(3, 2, 2, dtype=torch.uint8), np.random.default_rng(0)

    def black(mix, position=0):
        return not mix(image, target(), At(position), rng)[0].any()

    assert 35 < sum(black(Black(0.5)) for _ in range(100)) < 65
    assert [black(Black(1.0, 0.1, images_in_training(5, 10, 2)), position) for position in (0, 89, 90, 99)] == [
        True,
        True,
        False,
        False,
    ]
    for bad in ({"prob": 1.5}, {"prob": 1, "off": -1, "images": 3}, {"prob": 1, "off": 0.1}):
        with pytest.raises(ValueError, match="Black: (prob|off)"):
            Black(**bad)
