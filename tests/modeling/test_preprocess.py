"""Pictures and targets into padded tensors: zero padding after normalizing, channel order, refusals."""

import pytest
import torch

from imbdet.modeling.preprocess import Preprocess, pad_objects


def pictures(*sizes):
    g = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *s), generator=g, dtype=torch.uint8) for s in sizes]


@pytest.mark.parametrize("sizes", [[(64, 96)], [(33, 50), (40, 31)], [(64, 64), (64, 64)]])
def test_normalized_and_zero_padded(sizes):
    images = pictures(*sizes)
    batch, got = Preprocess((1, 2, 3), (4, 5, 6), divisor=32)(images)
    assert got == sizes and batch.shape[-2] % 32 == batch.shape[-1] % 32 == 0
    mean, std = torch.tensor([1.0, 2, 3]).view(3, 1, 1), torch.tensor([4.0, 5, 6]).view(3, 1, 1)
    for row, image, (h, w) in zip(batch, images, sizes, strict=True):
        assert torch.allclose(row[:, :h, :w], (image.float() - mean) / std)
        assert row[:, h:].abs().sum() == 0 and row[:, :, w:].abs().sum() == 0


def test_bgr_flips_the_channels():
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[0] = 7  # red
    batch, _ = Preprocess((0, 0, 0), (1, 1, 1), channels="BGR")([image])
    assert batch[0, 2].unique().tolist() == [7] and batch[0, :2].abs().sum() == 0


@pytest.mark.parametrize(
    "bad", [torch.zeros(3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8), torch.zeros(3, 0, 8).byte()]
)
def test_refuses_what_is_no_uint8_rgb(bad):
    with pytest.raises(ValueError, match="image 1 of the batch"):
        Preprocess()([torch.zeros(3, 8, 8, dtype=torch.uint8), bad])


def test_objects_are_padded_to_the_fullest():
    targets = [
        {"boxes": torch.rand(2, 4), "labels": torch.tensor([1, 2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
        {"boxes": torch.rand(3, 4), "labels": torch.tensor([0, 1, 0])},
    ]
    objects = pad_objects(targets, torch.device("cpu"), 3)
    assert objects.valid.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    assert torch.equal(objects.boxes[2], targets[2]["boxes"]) and torch.equal(objects.boxes[0, :2], targets[0]["boxes"])
    assert objects.boxes[1].abs().sum() == 0 and objects.labels.tolist() == [[1, 2, 0], [0, 0, 0], [0, 1, 0]]


def test_no_object_at_all_still_has_a_place():
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    objects = pad_objects([empty, empty], torch.device("cpu"), 3)
    assert objects.boxes.shape == (2, 1, 4) and not objects.valid.any()


@pytest.mark.parametrize(
    "target, message",
    [
        ({"boxes": torch.rand(2, 4), "labels": torch.tensor([1, 3])}, r"0\.\.2, got 1\.\.3"),
        ({"boxes": torch.rand(2, 4), "labels": torch.tensor([1])}, "target 0"),
        ({"boxes": torch.rand(2, 4)}, "target 0"),
    ],
)
def test_refuses_broken_targets(target, message):
    with pytest.raises(ValueError, match=message):
        pad_objects([target], torch.device("cpu"), 3)
