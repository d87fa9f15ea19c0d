"""The slot `mix`: other images, by a pure function of seed and position."""

import json
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config
from imbdet.data.datasets.coco import load_coco
from imbdet.data.images import decode
from imbdet.data.loader import TrainLoader
from imbdet.remedies import index
from imbdet.slots import Mix
from tests.helpers import load

FILLERS = [entry.name for entry in index.entries() if entry.slots == ("mix",)]


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


def filler(name):
    """What a remedy puts into the slot, acting to the end of the training."""
    return instantiate(load("baselines/faster_rcnn_shapes", name).dataloader.train.mix)


def test_the_fillers_are_found():
    assert set(FILLERS) >= {"mosaic", "mixup", "copy_paste", "class_targeted_copy_paste"}


@pytest.mark.parametrize("name", FILLERS)
def test_a_remedy_gives_the_same_to_other_workers_and_after_a_resume(name, records):
    """Six batches, over the end of the epoch, with two workers, and from the fourth on."""
    whole = batches(records, 0, 6, mix=filler(name))
    assert equal(whole[3:], batches(records, 3, 3, mix=filler(name)))
    assert equal(whole, batches(records, 0, 6, mix=filler(name), workers=2))
    assert not equal(whole, batches(records, 0, 6)), "it did nothing"
    labels = torch.cat([target["labels"] for _, targets in whole for target in targets])
    assert labels.dtype == torch.int64 and 0 <= labels.min() and labels.max() < records.num_classes


@pytest.mark.parametrize("name", FILLERS)
def test_grey_pictures_deep_ones_and_floats_come_as_the_loader_reads_them(name, tmp_path):
    """Four kinds of the same grey ramp, which all decode to three equal channels of 8 bits, and so do their mixes."""
    ramp = np.linspace(0.1, 0.9, 48)[None].repeat(40, axis=0)
    kinds = {
        "grey.png": Image.fromarray((ramp * 255).astype(np.uint8)),
        "deep.png": Image.fromarray((ramp * 65535).astype(np.uint16)),
        "float.tif": Image.fromarray(ramp.astype(np.float32)),
        "rgb.png": Image.fromarray((ramp * 255).astype(np.uint8)).convert("RGB"),
    }
    images, annotations = [], []
    for i, (file, image) in enumerate(kinds.items()):
        image.save(tmp_path / file)
        images.append({"id": i, "file_name": file, "width": 48, "height": 40})
        boxes = [(0, [2, 2, 20, 20]), (0, [30, 4, 10, 30])] if i else [(1, [8, 8, 24, 16])]
        annotations += [{"image_id": i, "category_id": k, "bbox": box, "area": 1, "iscrowd": 0} for k, box in boxes]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    categories = [{"id": k, "name": word} for k, word in enumerate("abc")]  # nobody has labeled the last
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "train.json").write_text(json.dumps(document))
    records = load_coco(str(tmp_path / "train.json"), str(tmp_path))
    plain = [records.images[i] for i in range(4)]
    assert all(torch.equal(image, decode(str(tmp_path / file))) for image, file in zip(plain, kinds, strict=True))
    assert all((image.int() - plain[0].int()).abs().max() <= 1 for image in plain)
    for images, targets in batches(records, 0, 4, mix=filler(name)):
        for image, target in zip(images, targets, strict=True):
            assert image.dtype == torch.uint8 and torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
            assert 24 <= image.median() <= 230 and len(target["boxes"]) == len(target["labels"])
