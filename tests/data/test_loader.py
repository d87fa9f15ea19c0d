"""Batches: the same for any number of workers and after a resume; each image once in evaluation; errors with a name."""

import gc
import multiprocessing
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from imbdet.data.augment import Compose, Photometric, RandomCropWithBoxes, RandomFlip, ResizeShortestEdge
from imbdet.data.cache import CachedImages
from imbdet.data.datasets.coco import load_coco
from imbdet.data.datasets.shapes import shapes
from imbdet.data.loader import EvalLoader, TrainLoader

AUGMENT = Compose([RandomCropWithBoxes(), ResizeShortestEdge([64, 72]), RandomFlip(0.5, 0.5), Photometric()])


@pytest.fixture(scope="module")
def records():
    return shapes(num_images=21, objects_per_image=(0, 4), size=(12, 40))


@pytest.fixture(scope="module")
def files(tiny_coco):
    """8 JPEGs of four shapes, one of them without objects."""
    return load_coco(tiny_coco / "instances_train.json", tiny_coco / "images" / "train")


def _take(loader, number, **options):
    iterator = loader.iterate(**options)
    batches = list(islice(iterator, number))
    iterator.close()
    return batches


def _same(a, b):
    return len(a) == len(b) and all(
        len(x[0]) == len(y[0])
        and all(torch.equal(i, j) for i, j in zip(x[0], y[0], strict=True))
        and all(_same_target(i, j) for i, j in zip(x[1], y[1], strict=True))
        for x, y in zip(a, b, strict=True)
    )


def _same_target(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else a[k] == b[k] for k in a
    )


def test_contract(records):
    loader = TrainLoader(records, 4, AUGMENT, num_workers=0)
    assert loader.epoch_length == 6 and len(loader.records) == 21  # ceil(21 / 4)
    for images, targets in _take(loader, 6):
        assert isinstance(images, list) and isinstance(targets, list) and len(images) == len(targets) == 4
        for image, target in zip(images, targets, strict=True):
            assert image.dtype == torch.uint8 and image.shape[0] == 3 and min(image.shape[1:]) in (64, 72)
            assert target["boxes"].dtype == torch.float32 and target["boxes"].shape == (len(target["labels"]), 4)
            assert target["labels"].dtype == torch.int64 and isinstance(target["image_id"], int)


@pytest.mark.parametrize("source", ["records", "files"])
def test_batches_do_not_depend_on_workers_or_resuming(source, request):
    data = request.getfixturevalue(source)
    make = {w: TrainLoader(data, 4, AUGMENT, num_workers=w, seed=3) for w in (0, 1, 2)}
    alone = _take(make[0], 10)
    assert _same(_take(make[2], 10), alone)
    assert _same(_take(make[1], 4, start=6), alone[6:])
    assert _same(_take(make[0], 4, start=6), alone[6:])
    assert not _same(_take(make[0], 4), alone[6:])
    assert not _same(_take(TrainLoader(data, 4, AUGMENT, num_workers=0, seed=4), 10), alone)


def test_without_augmentation_images_are_those_of_the_records(files):
    position = {int(image_id): i for i, image_id in enumerate(files.image_ids)}
    for workers in (0, 1):
        seen = []
        for images, targets in _take(TrainLoader(files, 2, num_workers=workers, aspect_ratio_grouping=False), 4):
            for image, target in zip(images, targets, strict=True):
                index = position[target["image_id"]]
                expected = files.target(index)
                assert torch.equal(image, files.images[index])
                assert torch.equal(target["boxes"], expected["boxes"]) and torch.equal(
                    target["labels"], expected["labels"]
                )
                seen.append(index)
        assert sorted(seen) == list(range(8))


def test_an_image_is_augmented_anew_each_epoch(records):
    few = records.subset([0, 1])
    batches = _take(TrainLoader(few, 2, Photometric(prob=1.0), num_workers=0), 2)
    pictures = [sorted(image.sum().item() for image in images) for images, _ in batches]
    assert pictures[0] != pictures[1]


def test_the_global_random_numbers_do_not_move(records):
    """Else a resumed run would differ from one that never stopped."""
    torch.manual_seed(1), np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    _take(TrainLoader(records, 4, AUGMENT, num_workers=1), 2)
    list(EvalLoader(records, num_workers=1))
    assert torch.equal(torch.get_rng_state(), before[0]) and np.array_equal(np.random.get_state()[1], before[1])


def test_ranks_share_the_batches(records):
    whole = _take(TrainLoader(records, 4, AUGMENT, num_workers=0), 5)
    parts = [_take(TrainLoader(records, 4, AUGMENT, num_workers=0), 5, rank=r, world_size=2) for r in (0, 1)]
    assert _same([(a[0] + b[0], a[1] + b[1]) for a, b in zip(*parts, strict=True)], whole)
    with pytest.raises(ValueError, match="batch_size=4 cannot be shared by 3"):
        TrainLoader(records, 4).iterate(world_size=3)


def test_aspect_ratio_grouping(files):
    """16 batches of 2 of 8 images, 2 of them high: without grouping, many a batch is mixed."""

    def mixed(grouping):
        loader = TrainLoader(files, 2, num_workers=0, aspect_ratio_grouping=grouping)
        batches = [[image.shape[2] > image.shape[1] for image in images] for images, _ in _take(loader, 16)]
        return sum(len(set(batch)) > 1 for batch in batches)

    assert mixed(True) <= 1 < mixed(False)


def test_data_smaller_than_a_batch(records):
    loader = TrainLoader(records.subset([4, 5, 6]), 8, num_workers=0)
    assert loader.epoch_length == 1
    for images, targets in _take(loader, 3):
        assert len(images) == 8
        assert set(t["image_id"] for t in targets) == {5, 6, 7}


def test_empty_images(records):
    assert records.num_empty > 1
    kept, left = TrainLoader(records, 4), TrainLoader(records, 4, keep_empty=False)
    assert kept.num_empty == left.num_empty == records.num_empty
    assert len(kept.records) == 21 and len(left.records) == 21 - records.num_empty and left.records.num_empty == 0
    assert f"{records.num_empty} images without objects kept" in kept.describe()
    assert f"{records.num_empty} images without objects left out" in left.describe()


def test_balance_is_applied_once_to_the_records(records):
    loader = TrainLoader(records, 4, num_workers=0, balance=lambda r: r.subset([2, 2, 3]))
    assert len(loader.records) == 3 and loader.epoch_length == 1
    assert {t["image_id"] for _, targets in _take(loader, 3) for t in targets} == {3, 4}


class _Backwards:
    """A stream of one's own: from the last image to the first."""

    def __init__(self, records, seed):
        self.size = len(records)

    def indices(self, start=0):
        while True:
            yield self.size - 1 - start % self.size
            start += 1


def test_image_sampler_slot(records):
    loader = TrainLoader(records, 3, num_workers=0, image_sampler=_Backwards)
    assert [t["image_id"] for _, targets in _take(loader, 2, start=6) for t in targets] == [3, 2, 1, 21, 20, 19]


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_holds_every_image_once_in_order(files, workers):
    loader = EvalLoader(files, ResizeShortestEdge(40), batch_size=3, num_workers=workers)
    for _ in range(2):  # workers are kept from one evaluation to the next
        infos = [info for _, part in loader for info in part]
        assert [info["image_id"] for info in infos] == files.image_ids.tolist()
    assert len(loader) == 3 == len(list(loader))
    assert [info["height"] for info in infos] == files.heights.tolist()
    assert [info["width"] for info in infos] == files.widths.tolist()
    images = [image for part, _ in loader for image in part]
    assert all(min(image.shape[1:]) == 40 for image in images)
    shards = [[info["image_id"] for _, part in loader.iterate(r, 3) for info in part] for r in range(3)]
    assert sorted(sum(shards, [])) == sorted(files.image_ids.tolist()) and [len(s) for s in shards] == [3, 3, 2]


def test_more_ranks_than_images(records):
    loader = EvalLoader(records.subset([0, 1]), num_workers=0)
    assert [sum(len(part) for part, _ in loader.iterate(r, 3)) for r in range(3)] == [1, 1, 0]


class _Broken:
    """Pictures of which one cannot be read."""

    def __init__(self, source, at, error):
        self.source, self.at, self.error = source, at, error

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        if index == self.at:
            raise self.error
        return self.source[index]

    def name(self, index):
        return f"broken/{index}.jpg"


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("error", [ValueError("cut short"), FileNotFoundError("cut short"), KeyError("cut short")])
def test_a_failure_names_the_image(records, workers, error):
    broken = replace(records, images=_Broken(records.images, 4, error))
    kind = RuntimeError if isinstance(error, KeyError) else type(error)
    for batches in (
        TrainLoader(broken, 4, num_workers=workers).iterate(),
        iter(EvalLoader(broken, num_workers=workers)),
    ):
        with pytest.raises(kind, match=r"(?s)shapes_train, image id 5 \(broken/4.jpg\): .*cut short"):
            list(islice(batches, 6))


def test_nothing_to_load_is_a_clear_error(records):
    empty = replace(records.subset([]), source="data/instances_train.json")
    for make in (lambda: TrainLoader(empty, 4), lambda: EvalLoader(empty)):
        with pytest.raises(ValueError, match="data/instances_train.json: .* has no images"):
            make()
    bare = records.subset(np.flatnonzero(np.diff(records.offsets) == 0))
    with pytest.raises(ValueError, match="without objects, and keep_empty is off"):
        TrainLoader(bare, 4, keep_empty=False)
    with pytest.raises(ValueError, match="left no image"):
        TrainLoader(records, 4, balance=lambda r: r.subset([]))
    with pytest.raises(ValueError, match="batch_size=0"):
        TrainLoader(records, 0)


def test_closing_ends_the_workers(records):
    gc.collect()
    before = set(multiprocessing.active_children())
    iterator = TrainLoader(records, 4, num_workers=2).iterate()
    next(iterator)
    assert len(set(multiprocessing.active_children()) - before) == 2
    iterator.close()
    assert not set(multiprocessing.active_children()) - before


def test_a_failure_ends_the_workers_at_once(records):
    """Not at some later garbage collection, which then waits 5 s for each loader."""
    gc.collect()
    before = set(multiprocessing.active_children())
    iterator = TrainLoader(
        replace(records, images=_Broken(records.images, 4, ValueError())), 4, num_workers=1
    ).iterate()
    try:
        list(islice(iterator, 6))
    except ValueError:
        del iterator
    assert not set(multiprocessing.active_children()) - before


class _Counting:
    """Counts, across processes, how often a picture is made."""

    def __init__(self, source):
        self.source = source
        self.made = torch.zeros(len(source), dtype=torch.int64).share_memory_()

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        self.made[index] += 1
        return self.source[index]

    def name(self, index):
        return self.source.name(index)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("source", ["records", "files"])
def test_the_cache_makes_each_picture_once(source, workers, request):
    data = request.getfixturevalue(source)
    counting = _Counting(data.images)
    options = {"augment": AUGMENT, "num_workers": workers, "aspect_ratio_grouping": False}
    cached = TrainLoader(replace(data, images=counting), 1, cache_bytes=2**24, **options)
    epochs = 3 * len(data)
    assert _same(_take(cached, epochs), _take(TrainLoader(data, 1, **options), epochs))
    # Workers run ahead of each other by a few images, so that one may be made twice where an epoch meets the next.
    assert (counting.made >= 1).all() and counting.made.sum() <= len(data) + 2 * workers


def test_the_cache_keeps_its_limit_and_its_pictures(records):
    counting = _Counting(records.images)
    cache = CachedImages(counting, records.heights, records.widths, limit=5 * 3 * 128 * 128)
    assert cache.kept == 5
    for _ in range(3):
        pictures = [cache[i] for i in range(7)]
        assert all(torch.equal(picture, records.images[i]) for i, picture in enumerate(pictures))
        pictures[0].zero_()  # what a caller does to its picture stays its own
    assert counting.made[:7].tolist() == [1] * 5 + [3] * 2


def test_the_cache_passes_on_a_picture_of_another_size(files):
    cache = CachedImages(files.images, files.heights + 1, files.widths, limit=2**24)
    assert torch.equal(cache[0], files.images[0]) and torch.equal(cache[0], files.images[0])


@pytest.mark.parametrize("last", [False, True])
def test_the_cache_gives_back_either_memory_layout(last):
    """Planes, and channels last: the same values, and the same strides, as were put in."""
    planes = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).view(2, 3, 4, 5)
    source = [image.permute(1, 2, 0).contiguous().permute(2, 0, 1) if last else image for image in planes]
    cache = CachedImages(source, np.full(2, 4), np.full(2, 5), limit=1000)
    for index in (0, 1, 0, 1):
        assert torch.equal(cache[index], planes[index]) and cache[index].stride() == source[index].stride()
