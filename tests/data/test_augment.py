"""Transforms by hand numbers, by plain loops over pixels, and by PIL."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from imbdet.config import instantiate, load_config
from imbdet.data.augment import (
    Compose,
    Photometric,
    RandomCropWithBoxes,
    RandomFlip,
    ResizeShortestEdge,
    adjust_color,
    adjust_tone,
    crop,
    drop_empty,
    resize,
    resized_size,
)


def _image(height=6, width=10, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8))


def _last(image):
    """The same image with its channels last in memory, as decoders give it."""
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def _target(*boxes, labels=None):
    labels = torch.arange(len(boxes)) if labels is None else torch.tensor(labels)
    return {"boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), "labels": labels, "image_id": 7}


def _rng(seed=0):
    return np.random.default_rng(seed)


ALL = [
    ResizeShortestEdge([16, 24], max_size=40),
    ResizeShortestEdge([16, 24], sample_style="range"),
    RandomFlip(0.5, 0.5),
    RandomCropWithBoxes(prob=1.0),
    Photometric(hue=0.1, prob=1.0),
    Compose([RandomCropWithBoxes(), ResizeShortestEdge(16), RandomFlip(), Photometric()]),
]


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("empty", [False, True])
def test_contract(transform, empty):
    """A function of the generator alone, that leaves its arguments as they are and keeps types and boxes valid."""
    target = _target() if empty else _target([1, 2, 20, 18], [10, 5, 31, 23], [0, 0, 32, 24])
    image = _last(_image(24, 32))
    for seed in range(20):
        before = image.clone(), {k: v.clone() for k, v in target.items() if k != "image_id"}
        first, second = transform(image, target, _rng(seed)), transform(image, target, _rng(seed))
        assert torch.equal(image, before[0]) and all(torch.equal(target[k], v) for k, v in before[1].items())
        assert torch.equal(first[0], second[0]) and torch.equal(first[1]["boxes"], second[1]["boxes"])
        picture, found = first
        assert picture.dtype == torch.uint8 and picture.shape[0] == 3
        assert found["boxes"].dtype == torch.float32 and found["boxes"].shape == (len(found["labels"]), 4)
        assert found["labels"].dtype == torch.int64 and found["image_id"] == 7
        h, w = picture.shape[1:]
        assert (found["boxes"] >= 0).all() and (found["boxes"] <= torch.tensor([w, h, w, h]) + 1e-4).all()
        assert (found["boxes"][:, 2:] > found["boxes"][:, :2]).all()
        assert empty or len(found["boxes"]) > 0
        # An image without a target, as in evaluation.
        assert torch.equal(transform(image, {}, _rng(seed))[0], picture) or isinstance(
            transform, RandomCropWithBoxes | Compose
        )


@pytest.mark.parametrize(
    "height, width, short, most, expected",
    [
        (480, 640, 800, 1333, (800, 1067)),  # 640 * 800 / 480 = 1066.67
        (640, 480, 800, 1333, (1067, 800)),
        (500, 500, 800, 1333, (800, 800)),
        (200, 1000, 800, 1333, (267, 1333)),  # 4000 is too long: 800 * 1333 / 4000 = 266.6
        (427, 640, 640, 1333, (640, 959)),  # 959.25
        (2, 1000, 800, 1333, (3, 1333)),  # 2.67
        (1, 5000, 10, 1333, (1, 1333)),  # 0.27 pixels would be none
    ],
)
def test_sizes_are_detectron2s(height, width, short, most, expected):
    """detectron2.data.transforms.ResizeShortestEdge.get_output_shape, worked by hand."""
    assert resized_size(height, width, short, most) == expected


def test_resize_scales_boxes_exactly():
    """12x10 to 24x15: x times 1.5, y times 2."""
    image, target = resize(_image(12, 10), _target([1, 2, 3, 4], [0, 0, 10, 12]), 24, 15)
    assert image.shape == (3, 24, 15)
    assert target["boxes"].tolist() == [[1.5, 4, 4.5, 8], [0, 0, 15, 24]]


@pytest.mark.parametrize("layout", [lambda image: image, _last])
@pytest.mark.parametrize("size", [(20, 27), (60, 90), (30, 40)])
def test_resize_equals_torchvision_and_pil(layout, size):
    image = _image(30, 40)
    out, _ = resize(layout(image), {}, *size)
    # torchvision 0.21 rounds some pixels the other way than its own path for channels last
    assert (out.int() - tv.resize(image, list(size), antialias=True).int()).abs().max() <= 1
    picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], Image.BILINEAR)
    assert np.abs(out.permute(1, 2, 0).int().numpy() - np.asarray(picture).astype(int)).max() <= 1


def test_resize_keeps_the_fast_memory_layout():
    """A test at 3 sizes: the fast path needs, and gives, channels last."""
    for size in ((10, 12), (50, 60), (33, 47)):
        assert resize(_last(_image(30, 40)), {}, *size)[0].stride(0) == 1


def test_several_lengths_are_all_drawn():
    sides = {min(ResizeShortestEdge([8, 10, 12])(_image(6, 7), {}, _rng(i))[0].shape[1:]) for i in range(40)}
    assert sides == {8, 10, 12}
    ranged = {
        min(ResizeShortestEdge([8, 12], sample_style="range")(_image(6, 7), {}, _rng(i))[0].shape[1:])
        for i in range(80)
    }
    assert ranged == {8, 9, 10, 11, 12}


def test_flips_by_hand():
    image, target = _image(6, 10), _target([1, 2, 4, 3])
    mirrored, found = RandomFlip(1.0, 0.0)(image, target, _rng())
    assert found["boxes"].tolist() == [[6, 2, 9, 3]]  # 10 - 4, 10 - 1
    assert all(torch.equal(mirrored[:, :, x], image[:, :, 9 - x]) for x in range(10))
    upset, found = RandomFlip(0.0, 1.0)(image, target, _rng())
    assert found["boxes"].tolist() == [[1, 3, 4, 4]]  # 6 - 3, 6 - 2
    assert all(torch.equal(upset[:, y], image[:, 5 - y]) for y in range(6))
    both = RandomFlip(1.0, 1.0)(*RandomFlip(1.0, 1.0)(image, target, _rng()), _rng())
    assert torch.equal(both[0], image) and torch.equal(both[1]["boxes"], target["boxes"])


def test_flip_probability():
    flip, image, target = RandomFlip(0.3), _image(), _target([0, 0, 1, 1])
    rng = _rng()
    flipped = sum(flip(image, target, rng)[1]["boxes"][0, 0].item() > 0 for _ in range(1000))
    assert abs(flipped - 300) < 60  # 4 standard deviations


def test_crop_by_hand():
    """Window x 2..8, y 1..5: the center of box 0 is outside, 1 is clipped, 2 inside, 3 has its center on the edge."""
    target = _target([0, 0, 3, 3], [5, 2, 10, 6], [3, 2, 4, 3], [1, 2, 3, 3])
    target["weights"] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    image = _image(6, 10)
    out, found = crop(image, target, 2, 1, 8, 5)
    assert torch.equal(out, image[:, 1:5, 2:8])
    assert found["boxes"].tolist() == [[3, 1, 6, 4], [1, 1, 2, 2]]
    assert found["labels"].tolist() == [1, 2] and found["weights"].tolist() == pytest.approx([0.2, 0.3])


def test_random_crop_keeps_what_a_plain_loop_keeps():
    boxes = [[2, 3, 20, 22], [30, 10, 60, 44], [50, 5, 58, 12], [8, 30, 14, 46]]
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    image = torch.stack([columns, rows, rows * 0]).to(torch.uint8)  # each pixel says where it came from
    crops = 0
    for seed in range(60):
        out, found = RandomCropWithBoxes(prob=1.0)(image, _target(*boxes), _rng(seed))
        x1, y1 = int(out[0, 0, 0]), int(out[1, 0, 0])
        h, w = out.shape[1:]
        crops += (h, w) != (48, 64)
        assert w >= int(0.3 * 64) and h >= int(0.3 * 48)
        kept = []
        for a, b, c, d in boxes:
            if x1 < (a + c) / 2 < x1 + w and y1 < (b + d) / 2 < y1 + h:
                kept.append([max(a - x1, 0), max(b - y1, 0), min(c - x1, w), min(d - y1, h)])
        assert found["boxes"].tolist() == kept and kept
    assert crops > 40


def test_random_crop_reaches_the_overlap():
    box = [20, 10, 44, 38]
    for seed in range(30):
        out, found = RandomCropWithBoxes(prob=1.0, min_ious=[0.5], tries=200)(_image(48, 64), _target(box), _rng(seed))
        if out.shape[1:] != (48, 64):
            (a, b, c, d), (h, w) = found["boxes"][0].tolist(), out.shape[1:]
            inter = (c - a) * (d - b)
            assert inter / (24 * 28 + h * w - inter) >= 0.5
    # No window of at most 30 % a side reaches it: the image stays whole.
    whole, _ = RandomCropWithBoxes(1.0, scale=(0.1, 0.3), min_ious=[0.9])(
        _image(48, 64), _target([0, 0, 60, 48]), _rng()
    )
    assert whole.shape == (3, 48, 64)


def test_tone_is_the_formula_for_each_pixel():
    image = _last(_image(8, 12))
    mean = image[:, ::4, ::4].double().mean()
    for brightness, contrast in ((1.0, 1.0), (1.2, 1.0), (0.8, 1.3), (1.0, 0.0)):
        expected = ((image.double() - mean) * contrast + mean * brightness).clamp(0, 255)
        out = adjust_tone(image, brightness, contrast)
        assert (out.double() - expected).abs().max() <= 0.51, (brightness, contrast)
    assert torch.equal(adjust_tone(image, 1.0, 1.0), image)
    out = adjust_tone(image, 1.2, 1.0)
    out += 1  # is its own memory, and writable


def test_color():
    image = _image(8, 12)
    assert (adjust_color(image, 1.0).int() - image.int()).abs().max() <= 1
    gray = adjust_color(image, 0.0)
    expected = (image.double() * torch.tensor([0.299, 0.587, 0.114]).double()[:, None, None]).sum(0)
    assert (gray.double() - expected).abs().max() < 1.6
    expected = tv.adjust_saturation(image, 1.3).int()
    assert (adjust_color(image, 1.3).int() - expected).abs().max() <= 2
    # A full circle is none; half of one turns red to cyan, and leaves gray as it is.
    assert (adjust_color(image, 1.0, 1.0).int() - image.int()).abs().max() <= 1
    red, plain = torch.tensor([200, 80, 80]), torch.tensor([90, 90, 90])
    turned = adjust_color(torch.stack([red, plain], 1).to(torch.uint8)[:, :, None], 1.0, 0.5)[:, :, 0].int()
    assert turned[0, 0] < turned[1, 0] and (turned[:, 1] - 90).abs().max() <= 1


def test_photometric_off_is_the_identity():
    image = _image()
    assert Photometric(prob=0.0)(image, {}, _rng())[0] is image
    assert Photometric(0, 0, 0, 0, prob=1.0)(image, {}, _rng())[0] is image


def test_photometric_leaves_boxes():
    target = _target([1, 2, 3, 4])
    assert Photometric(prob=1.0)(_image(), target, _rng())[1] is target


def test_empty_boxes_are_dropped():
    target = drop_empty(_target([1, 1, 1, 5], [1, 1, 2, 2], [4, 4, 3, 5]))
    assert target["labels"].tolist() == [1] and target["boxes"].tolist() == [[1, 1, 2, 2]]


def test_compose_is_in_order():
    crop_then_flip = Compose([lambda i, t, r: crop(i, t, 0, 0, 5, 6), RandomFlip(1.0)])
    assert crop_then_flip(_image(), _target([0, 0, 2, 2]), _rng())[1]["boxes"].tolist() == [[3, 0, 5, 2]]
    image = _image()
    assert Compose()(image, {}, _rng())[0] is image


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResizeShortestEdge([]),
        lambda: ResizeShortestEdge(0),
        lambda: ResizeShortestEdge([8, 9], sample_style="random"),
        lambda: ResizeShortestEdge([9, 8], sample_style="range"),
        lambda: RandomFlip(1.5),
        lambda: RandomCropWithBoxes(scale=(0.0, 1.0)),
        lambda: Photometric(hue=0.7),
    ],
)
def test_wrong_numbers_are_refused(make):
    with pytest.raises(ValueError):
        make()


def test_multi_scale_is_one_key():
    """Short edges of a list as they are drawn, and with one more key any between two."""
    key, tall = "dataloader.train.augment.transforms.0", torch.zeros(3, 60, 40, dtype=torch.uint8)
    for edges, want in (([20, 30, 50], {(30, 20), (45, 30), (75, 50)}), ([20, 50], {(30, 20), (75, 50)})):
        words = [f"{key}.short_edge_length={edges}"]
        augment = instantiate(load_config("baselines/retinanet_lite0_custom", [], words).dataloader.train.augment)
        assert {tuple(augment(tall, {}, np.random.default_rng(i))[0].shape[1:]) for i in range(40)} == want
    cfg = load_config("baselines/retinanet_lite0_custom", [], [*words, f"{key}.sample_style=range"])
    augment = instantiate(cfg.dataloader.train.augment)
    edges = {augment(tall, {}, np.random.default_rng(i))[0].shape[2] for i in range(60)}
    assert len(edges) > 15 and min(edges) >= 20 and max(edges) <= 50
