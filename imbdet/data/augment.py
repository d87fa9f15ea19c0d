"""The `augment` slot: what happens to an image and its boxes on the way to the network.

Each transform is called as `transform(image, target, rng) -> image, target`:
    image: uint8 RGB (3, H, W).
    target: {"boxes": float32 (m, 4) XYXY pixels of the image, "labels": int64 (m,), ...}. Other tensors of m rows are
        kept in step with the boxes, anything else is passed on. An empty dict will do for an image alone (evaluation).
    rng: the only source of randomness, a numpy Generator.
The arguments are never changed in place. Letters: m objects of the image, T tries.

Notable: images keep the memory layout of the decoder (channels last), for which torch's uint8 resize is more than twice
as fast, and brightness and contrast are one look-up in a table of 256 entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from imbdet.slots import Augment

_GRAY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as PIL and torchvision take it
# RGB -> YIQ: hue is the angle in the (I, Q) plane, so that turning it is a linear map of the colors.
_YIQ = np.array([_GRAY, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])


class Compose(Augment):
    """One transform after the other; with none, the identity.

    Args:
        transforms: a sequence of transforms.
    """

    def __init__(self, transforms: Sequence[Augment] = ()):
        self.transforms = list(transforms)

    def __call__(self, image: Tensor, target: dict, rng: np.random.Generator) -> tuple[Tensor, dict]:
        for transform in self.transforms:
            image, target = transform(image, target, rng)
        return image, target


class ResizeShortestEdge(Augment):
    """Scale the image, keeping its aspect ratio, to a given shorter side; several lengths make it multi-scale.

    The sizes are detectron2's: the longer side is held to `max_size`, and both are rounded half up.

    Args:
        short_edge_length: pixels; one number, or a sequence to choose from.
        max_size: the most that the longer side may have.
        sample_style: "choice" takes one of the lengths, "range" any whole number from the first to the last (of two).

    Raises:
        ValueError: no length, one below 1, "range" without exactly two ascending lengths, or another style.
    """

    def __init__(self, short_edge_length: int | Sequence[int], max_size: int = 1333, sample_style: str = "choice"):
        lengths = [short_edge_length] if isinstance(short_edge_length, int) else [int(v) for v in short_edge_length]
        if not lengths or min(lengths) < 1 or max_size < 1:
            given = f"short_edge_length={short_edge_length}, max_size={max_size}"
            raise ValueError(f"ResizeShortestEdge: {given}; both are pixels, 1 or more")
        if sample_style not in ("choice", "range"):
            raise ValueError(f"ResizeShortestEdge: sample_style={sample_style!r}; it must be 'choice' or 'range'")
        if sample_style == "range" and (len(lengths) != 2 or lengths[0] > lengths[1]):
            raise ValueError(f"ResizeShortestEdge: a range needs two ascending lengths, not {short_edge_length}")
        self.lengths = lengths
        self.max_size = max_size
        self.sample_style = sample_style

    def __call__(self, image: Tensor, target: dict, rng: np.random.Generator) -> tuple[Tensor, dict]:
        if self.sample_style == "range":
            length = int(rng.integers(self.lengths[0], self.lengths[1] + 1))
        else:
            length = self.lengths[int(rng.integers(len(self.lengths)))] if len(self.lengths) > 1 else self.lengths[0]
        height, width = resized_size(image.shape[1], image.shape[2], length, self.max_size)
        return resize(image, target, height, width)


def resized_size(height: int, width: int, short_edge: int, max_size: int) -> tuple[int, int]:
    """Return (height, width) of an image after ResizeShortestEdge; the arithmetic is detectron2's."""
    scale = short_edge / min(height, width)
    new = (short_edge, scale * width) if height < width else (scale * height, short_edge)
    if max(new) > max_size:
        shrink = max_size / max(new)
        new = (new[0] * shrink, new[1] * shrink)
    return max(int(new[0] + 0.5), 1), max(int(new[1] + 0.5), 1)


def resize(image: Tensor, target: dict, height: int, width: int) -> tuple[Tensor, dict]:
    """Return image (bilinear, anti-aliased, on uint8) and boxes (exactly) at this size; boxes that vanish are
    dropped.
    """
    before_h, before_w = image.shape[1:]
    if (height, width) == (before_h, before_w):
        return image, target
    # The batch axis goes in front of (H, W, 3): only then torch sees that the channels lie last, and takes its fast
    # path: 1.0 ms instead of 2.6 for 640x480 to 1067x800.
    batch = image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    image = torch.nn.functional.interpolate(batch, size=(height, width), mode="bilinear", antialias=True)[0]
    if "boxes" not in target:
        return image, target
    # numpy: for a handful of boxes, torch's operators cost ten times the arithmetic.
    boxes = target["boxes"].numpy() * np.array([width / before_w, height / before_h] * 2)  # in float64
    return image, drop_empty({**target, "boxes": torch.from_numpy(boxes.astype(np.float32))})


class RandomFlip(Augment):
    """Mirror the image and its boxes.

    Args:
        horizontal: the probability of left-right, 0 to 1.
        vertical: the probability of upside down.
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0):
        for name, value in (("horizontal", horizontal), ("vertical", vertical)):
            if not 0 <= value <= 1:
                raise ValueError(f"RandomFlip: {name}={value}; a probability lies in 0..1")
        self.horizontal = horizontal
        self.vertical = vertical

    def __call__(self, image: Tensor, target: dict, rng: np.random.Generator) -> tuple[Tensor, dict]:
        mirror, upset = rng.random(2) < (self.horizontal, self.vertical)
        if mirror:
            image, target = image.flip(2), _mirrored(target, image.shape[2], (2, 1, 0, 3), (0, 2))
        if upset:
            image, target = image.flip(1), _mirrored(target, image.shape[1], (0, 3, 2, 1), (1, 3))
        return image, target


def _mirrored(target: dict, side: int, order: tuple[int, ...], columns: tuple[int, int]) -> dict:
    """The boxes with the two columns x -> side - x, in swapped order."""
    if "boxes" not in target:
        return target
    boxes = target["boxes"][:, list(order)]
    boxes[:, list(columns)] = side - boxes[:, list(columns)]
    return {**target, "boxes": boxes}


class RandomCropWithBoxes(Augment):
    """Cut out a random part that still shows an object well (after SSD, Liu et al., arXiv:1512.02325, section 2.2).

    A smallest overlap is drawn from `min_ious`; of `tries` random windows the first is taken that holds the center of a
    box and has that IoU with it; if there is none, the image stays whole. Objects whose center lies in the window are
    kept, their boxes clipped to it. An image without objects is cut anywhere.
    We differ from SSD in that the windows of all tries are drawn and judged at once.

    Args:
        prob: how often a crop is tried at all.
        scale: (smallest, largest) share of each side that remains.
        aspect: (smallest, largest) ratio of width to height of the window, relative to the image's own.
        min_ious: the overlaps to draw from.
        tries: windows drawn.
    """

    def __init__(
        self,
        prob: float = 0.5,
        scale: tuple[float, float] = (0.3, 1.0),
        aspect: tuple[float, float] = (0.5, 2.0),
        min_ious: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9),
        tries: int = 40,
    ):
        if not (0 < scale[0] <= scale[1] <= 1 and 0 < aspect[0] <= aspect[1] and tries >= 1 and len(min_ious)):
            raise ValueError(
                f"RandomCropWithBoxes: scale={scale}, aspect={aspect}, min_ious={min_ious}, tries={tries}; expected "
                "0 < scale <= 1 and aspect > 0, both ascending, at least one of min_ious and one try"
            )
        self.prob = prob
        self.scale = scale
        self.aspect = aspect
        self.min_ious = list(min_ious)
        self.tries = tries

    def __call__(self, image: Tensor, target: dict, rng: np.random.Generator) -> tuple[Tensor, dict]:
        if rng.random() >= self.prob:
            return image, target
        wanted = self.min_ious[int(rng.integers(len(self.min_ious)))]
        windows = self._windows(image.shape[1], image.shape[2], rng)
        boxes = target["boxes"].double().numpy() if "boxes" in target else np.zeros((0, 4))
        if len(boxes):
            centers = (boxes[:, :2] + boxes[:, 2:]) / 2
            inside = ((centers > windows[:, None, :2]) & (centers < windows[:, None, 2:])).all(axis=2)
            overlap = np.where(inside, _iou(windows, boxes), -1.0).max(axis=1)
            windows = windows[overlap >= wanted]
        return crop(image, target, *windows[0].tolist()) if len(windows) else (image, target)

    def _windows(self, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
        """int64 (at most T, 4) XYXY: random windows, without those whose aspect ratio is out of range."""
        u = rng.random((self.tries, 4))
        shares = self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, :2]
        ratio = shares[:, 0] / shares[:, 1]
        valid = (ratio >= self.aspect[0]) & (ratio <= self.aspect[1])
        sides = np.maximum((shares[valid] * (width, height)).astype(np.int64), 1)
        corner = (u[valid, 2:] * ((width, height) - sides + 1)).astype(np.int64)
        return np.concatenate([corner, corner + sides], axis=1)


def crop(image: Tensor, target: dict, x1: int, y1: int, x2: int, y2: int) -> tuple[Tensor, dict]:
    """Return the window [x1, x2) x [y1, y2) of the image; objects whose center lies inside are kept, their boxes
    clipped.
    """
    image = image[:, y1:y2, x1:x2]
    if "boxes" not in target:
        return image, target
    boxes = target["boxes"]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = (centers > torch.tensor([x1, y1])).all(dim=1) & (centers < torch.tensor([x2, y2])).all(dim=1)
    target = keep_objects(target, inside)
    moved = target["boxes"] - torch.tensor([x1, y1, x1, y1], dtype=torch.float32)
    limits = torch.tensor([x2 - x1, y2 - y1] * 2, dtype=torch.float32)
    return image, drop_empty({**target, "boxes": torch.minimum(moved.clamp(min=0), limits)})


def cut(target: dict, x1: float, y1: float, x2: float, y2: float, least: float = 0.1) -> dict:
    """Return what is to be found in the window [x1, x2) x [y1, y2): boxes in its pixels, clipped to it.

    least: an object of whose box less than this share lies in the window is dropped, though a part of it may be seen.
    """
    before = target["boxes"].numpy().astype(np.float64)
    boxes = np.clip(before - [x1, y1, x1, y1], 0, [x2 - x1, y2 - y1] * 2)
    sides, left = before[:, 2:] - before[:, :2], boxes[:, 2:] - boxes[:, :2]
    keep = (left > 0).all(axis=1) & (left.prod(axis=1) >= least * sides.prod(axis=1) * (1 - 1e-9))
    boxes = torch.from_numpy(boxes.astype(np.float32))
    return drop_empty(keep_objects({**target, "boxes": boxes}, torch.from_numpy(keep)))


class Photometric(Augment):
    """Change brightness, contrast, saturation and (off by default) hue, each with its own probability.

    A pixel becomes (pixel - mean) * c + mean * b, with c and b drawn from 1 - x to 1 + x and the mean of the image's
    gray; then its colors are drawn towards or away from gray by a factor, and turned around the gray axis.

    Args:
        brightness, contrast, saturation: x, the largest relative change, 0 to 1.
        hue: the largest turn in parts of a full circle, 0 to 0.5. Linear in YIQ, not HSV: 20 times cheaper and as good
            for training.
        prob: the probability of each change.
    """

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.3,
        saturation: float = 0.3,
        hue: float = 0.0,
        prob: float = 0.5,
    ):
        given = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue, "prob": prob}
        for name, value in given.items():
            most = 0.5 if name == "hue" else 1.0
            if not 0 <= value <= most:
                raise ValueError(f"Photometric: {name}={value}; it must lie in 0..{most}")
        self.strength = np.array([brightness, contrast, saturation, hue])
        self.prob = prob

    def __call__(self, image: Tensor, target: dict, rng: np.random.Generator) -> tuple[Tensor, dict]:
        change = self.strength * rng.uniform(-1, 1, 4) * (rng.random(4) < self.prob)
        if change[:2].any():
            image = adjust_tone(image, 1 + change[0], 1 + change[1])
        if change[2:].any():
            image = adjust_color(image, 1 + change[2], change[3])
        return image, target


def adjust_tone(image: Tensor, brightness: float, contrast: float) -> Tensor:
    """Return (pixel - mean) * contrast + mean * brightness, by a table of 256 entries; mean: that of every 16th
    pixel.
    """
    pixels = image.permute(1, 2, 0).contiguous()
    mean = float(pixels[::4, ::4].to(torch.float32).mean())
    table = (np.arange(256) - mean) * contrast + mean * brightness
    table = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    # bytes.translate: a plain loop in C, faster than indexing in numpy (1.4 times) and in torch (5 times).
    changed = bytearray(pixels.numpy().data).translate(table.tobytes())
    return torch.frombuffer(changed, dtype=torch.uint8).view(pixels.shape).permute(2, 0, 1)


def adjust_color(image: Tensor, saturation: float, hue: float = 0.0) -> Tensor:
    """Scale the distance of each color from its gray, and turn it around gray by `hue` parts of a circle."""
    angle = 2 * np.pi * hue
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.eye(3)
    middle[1:, 1:] = saturation * turn
    matrix = torch.from_numpy(np.linalg.inv(_YIQ) @ middle @ _YIQ).to(torch.float32)
    pixels = image.permute(1, 2, 0).to(torch.float32) @ matrix.T
    return pixels.add_(0.5).clamp_(0, 255).to(torch.uint8).permute(2, 0, 1)


def keep_objects(target: dict, keep: Tensor) -> dict:
    """Return the target with the objects of the mask bool (m,) only: every tensor of m rows is cut, the rest is passed
    on.
    """
    m = len(target["boxes"])
    if keep.all():
        return target
    rows = {key: value[keep] for key, value in target.items() if isinstance(value, Tensor) and value.shape[:1] == (m,)}
    return {**target, **rows}


def drop_empty(target: dict) -> dict:
    """Drop the objects whose box has no area."""
    boxes = target["boxes"].numpy()
    valid = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return target if valid.all() else keep_objects(target, torch.from_numpy(valid))


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU (T, m) of the boxes a (T, 4) and b (m, 4)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inter = np.prod(np.maximum(sides, 0.0), axis=2)
    area_a, area_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b))
    return inter / (area_a[:, None] + area_b - inter)
