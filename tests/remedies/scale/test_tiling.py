"""Tiling: neutral, by hand, a naive loop, no objects, and the sizes of what is shown."""

import numpy as np
import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.data.augment import Compose
from imbdet.remedies.scale.tiling import Tiling
from imbdet.testing import batch
from tests.helpers import load

QUARTERS = {"size": 2, "overlap": 0, "whole": False}


def picture():
    """4 x 4, the value of a pixel is 4 y + x; objects on the upper left quarter, and on the middle of the picture."""
    image = torch.arange(16, dtype=torch.uint8).view(1, 4, 4).expand(3, 4, 4)
    boxes = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3]])
    return image, {"boxes": boxes, "labels": torch.tensor([5, 7]), "image_id": 3}


def seen(tiling, count=60):
    image, target = picture()
    return [tiling(image, target, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("setting", [{"prob": 0.0}, {"size": 4}, {"size": 1.0}, {"size": 512, "enlarge": True}])
def test_neutral_is_the_picture(setting):
    image, target = picture()
    assert all(a is image and b is target for a, b in [Tiling(**setting)(image, target, np.random.default_rng(0))])


def test_with_prob_0_the_rest_of_the_augment_does_what_it_did():
    cfg = load("baselines/faster_rcnn_shapes", "tiling")
    tiled = instantiate(cfg.dataloader.train.augment)
    tiled.transforms[0].prob = 0
    (image,), (target,) = batch(3)
    for seed in range(8):
        both = [augment(image, target, np.random.default_rng(seed)) for augment in (tiled, tiled.transforms[1])]
        assert torch.equal(both[0][0], both[1][0]) and torch.equal(both[0][1]["boxes"], both[1][1]["boxes"])


def test_quarters_by_hand():
    """Each quarter holds a quarter of the object in the middle; the upper left one the other object as well."""
    found = {int(image[0, 0, 0]): (image, target) for image, target in seen(Tiling(**QUARTERS))}
    assert sorted(found) == [0, 2, 8, 10]
    image, target = found[0]
    assert image[0].tolist() == [[0, 1], [4, 5]] and target["labels"].tolist() == [5, 7] and target["image_id"] == 3
    assert target["boxes"].tolist() == [[0, 0, 2, 2], [1, 1, 2, 2]]
    image, target = found[10]
    assert image[0].tolist() == [[10, 11], [14, 15]]
    assert target["labels"].tolist() == [7] and target["boxes"].tolist() == [[0, 0, 1, 1]]


def test_an_object_that_is_cut_by_too_much_is_dropped():
    """A quarter of the middle one is below a least of 0.3; tiles without objects are then left out."""
    found = {int(image[0, 0, 0]): target for image, target in seen(Tiling(**QUARTERS, least=0.3))}
    assert [len(found[corner]["labels"]) for corner in (0, 2, 8, 10)] == [1, 0, 0, 0]
    assert {int(image[0, 0, 0]) for image, _ in seen(Tiling(**QUARTERS, least=0.3, empty=False))} == {0}


def test_enlarged_to_the_size_of_the_picture():
    for image, target in seen(Tiling(**QUARTERS, enlarge=True)):
        assert image.shape == (3, 4, 4) and image.dtype == torch.uint8
        assert [4, 4] in (target["boxes"][:, 2:] - target["boxes"][:, :2]).tolist() or target["labels"].tolist() == [7]


def test_a_naive_loop():
    """All tiles come about equally often, wherever they may lie, with the objects that lie in them by a tenth."""
    (image,), (target,) = batch(6, size=100)
    tiling, starts = Tiling(size=0.6, anywhere=True), set()
    sizes = []
    for seed in range(40):
        part, found = tiling(image, target, np.random.default_rng(seed))
        height, width = part.shape[1:]
        sizes.append((height, width))
        corners = image[:, : 101 - height, : 101 - width] == part[:, :1, :1]
        places = torch.nonzero(corners.all(dim=0)).tolist()
        (y0, x0), *more = [(y, x) for y, x in places if torch.equal(image[:, y : y + height, x : x + width], part)]
        assert not more
        starts.add((y0, x0))
        want = []
        for (x1, y1, x2, y2), label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
            left, top, right, bottom = max(x1 - x0, 0), max(y1 - y0, 0), min(x2 - x0, width), min(y2 - y0, height)
            if right > left and bottom > top and (right - left) * (bottom - top) >= 0.1 * (x2 - x1) * (y2 - y1):
                want.append(([left, top, right, bottom], label))
        assert list(zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True)) == want
    assert set(sizes) == {(60, 60), (100, 100)} and 2 <= sizes.count((100, 100)) <= 16, "one of five is the whole"
    assert len(starts) > 20


def test_no_objects_and_bad_settings():
    (image,), (target,) = batch(0)
    for empty in (True, False):
        part, found = Tiling(size=0.3, empty=empty, whole=False)(image, target, np.random.default_rng(0))
        assert part.shape == (3, 38, 38) and found["boxes"].shape == (0, 4) and found["labels"].shape == (0,)
    for name in ("prob", "least"):
        with pytest.raises(ValueError, match=name):
            Tiling(**{name: 1.5})
    with pytest.raises(ValueError, match="above 0"):
        Tiling(size=-1)


def test_mechanism_objects_come_larger():
    """On shapes a tile is 77 of 128 pixels, brought to 128: an object that is not cut grows by 128 / 77."""
    cfg = load_config("baselines/faster_rcnn_shapes", ["tiling"], ["data.train.num_images=30"])
    records, augment = instantiate(cfg.data.train), instantiate(cfg.dataloader.train.augment)
    assert isinstance(augment, Compose) and augment.transforms[0].enlarge
    augment.transforms[0].tiles.whole, augment.transforms[0].least = False, 1.0
    whole = 0
    for i in range(len(records)):
        image, target = records.images[i], records.target(i)
        shown, found = augment(image, target, np.random.default_rng(i))
        assert shown.shape == image.shape
        before, after = (t["boxes"][:, 2:] - t["boxes"][:, :2] for t in (target, found))
        assert all(torch.isclose(before * 128 / 77, size, atol=1e-3).all(dim=1).any() for size in after)
        whole += len(after)
    assert whole > 10


def test_a_config_with_a_resize_keeps_it_behind_the_tile():
    cfg = load("baselines/faster_rcnn_lite0_custom", "tiling")
    tiling, rest = instantiate(cfg.dataloader.train.augment).transforms
    assert not tiling.enlarge and len(rest.transforms) == 3
