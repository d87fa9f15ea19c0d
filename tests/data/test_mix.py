"""The slot `mix`: other images, by a pure function of seed and position."""

from itertools import islice

import pytest
import torch

from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config
from imbdet.data.loader import TrainLoader
from imbdet.slots import Mix


class Beside(Mix):
    """Another image to the right of this one, until `until` images were seen; the parts are drawn once at random and
    once by index.
    """

    def __init__(self, until=10**9):
        self.until, self.size = until, 0

    def build(self, records):
        self.size = len(records)

    def __call__(self, image, target, draw, rng):
        if draw.position >= self.until:
            return image, target
        other, more = draw(rng) if rng.random() < 0.5 else draw(rng, int(rng.integers(self.size)))
        boxes = more["boxes"] + more["boxes"].new_tensor([image.shape[2], 0.0, image.shape[2], 0.0])
        return torch.cat((image, other), dim=2), {
            "boxes": torch.cat((target["boxes"], boxes)),
            "labels": torch.cat((target["labels"], more["labels"])),
        }


@pytest.fixture(scope="module")
def records():
    return instantiate(load_config("baselines/faster_rcnn_shapes", [], ["data.train.num_images=9"]).data.train)


def batches(records, start, count, **settings):
    loader = TrainLoader(
        records, 2, num_workers=settings.pop("workers", 0), seed=5, aspect_ratio_grouping=False, **settings
    )
    iterator = loader.iterate(start)
    found = list(islice(iterator, count))
    iterator.close()
    return found


def equal(a, b):
    return all(
        torch.equal(x, y) and torch.equal(s["boxes"], t["boxes"]) and s["image_id"] == t["image_id"]
        for (images, targets), (others, more) in zip(a, b, strict=True)
        for x, y, s, t in zip(images, others, targets, more, strict=True)
    )


def test_two_images_side_by_side(records):
    (images, targets), *_ = batches(records, 0, 1, mix=Beside())
    assert all(image.shape[2] == 256 and image.dtype == torch.uint8 for image in images)
    assert all(len(t["boxes"]) == len(t["labels"]) and t["boxes"][:, 2].max() > 128 for t in targets)


def test_a_resumed_stream_and_other_workers_see_the_same(records):
    """Seven batches go over the end of the epoch of nine images."""
    whole = batches(records, 0, 7, mix=Beside())
    assert equal(whole[3:], batches(records, 3, 4, mix=Beside()))
    assert equal(whole, batches(records, 0, 7, mix=Beside(), workers=2))


def test_it_may_end_before_the_training_does(records):
    widths = [image.shape[2] for images, _ in batches(records, 0, 4, mix=Beside(until=4)) for image in images]
    assert widths == [256] * 4 + [128] * 4


def test_none_leaves_the_stream_alone_and_pictures_stay(records):
    before = records.images[0].clone()
    assert equal(batches(records, 0, 3, mix=None), batches(records, 0, 3))
    batches(records, 0, 3, mix=Beside())
    assert torch.equal(records.images[0], before)


def test_a_detector_trains_on_mixed_images():
    cfg = load_config("baselines/retinanet_shapes", [], ["data.train.num_images=6", "dataloader.train.num_workers=0"])
    cfg.dataloader.train.mix = L(Beside)()
    model = instantiate(cfg.model).train()
    for images, targets in islice(instantiate(cfg.dataloader.train).iterate(), 2):
        losses, _ = model(
            [image[:, ::2, ::2] for image in images[:2]],
            [{**target, "boxes": target["boxes"] / 2} for target in targets[:2]],
        )
        sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
