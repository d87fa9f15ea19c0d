"""The pictures of the shapes data set: a scene of `shapes_layout` drawn to uint8 RGB.

Notable: color, contrast, texture and turn are drawn independently of the class, so that nothing but the outline tells
the classes apart. An object is drawn in its own window only, its outline at 4 times the resolution and averaged down
(anti-aliasing); a picture of 128x128 takes well under 1.5 ms.
Letters: V corners of an outline; H, W the window of one object.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from imbdet.data.datasets.shapes_layout import Scene
from imbdet.data.datasets.shapes_outlines import OUTLINES, place

_SUPERSAMPLE = 4
_CONTRAST = (60.0, 120.0)  # distance of an object's color from the ground's, in levels of one channel (of 255)
_COVER = (0.25, 0.6)  # how much of an object's box a cover hides, from one side
_NOISE = 6.0  # half the width of the uniform noise of each pixel, in levels


class ShapesImages:
    """Renders on the fly: `images[i]` is uint8 RGB (3, H, W), always the same for the same data set and index."""

    def __init__(
        self, scene: Scene, key: tuple[int, int], image_size: int, clutter: float, name: str, covered: float = 0.0
    ):
        self.scene = scene
        self.key = key
        self.image_size = image_size
        self.clutter = clutter
        self.covered = covered
        self._name = name

    def __len__(self) -> int:
        return len(self.scene.offsets) - 1

    def name(self, index: int) -> str:
        """Return what a message calls this picture, e.g. "shapes/train/seed0/000012"."""
        return f"{self._name}/{index:06d}"

    def __getitem__(self, index: int) -> Tensor:
        if not 0 <= index < len(self):
            raise IndexError(f"{self._name}: image index {index} is outside 0..{len(self) - 1}")
        rng = np.random.default_rng([*self.key, index])
        canvas, ground = _background(rng, self.image_size, self.clutter)
        first, last = self.scene.offsets[index], self.scene.offsets[index + 1]
        colors, patterns = _paints(rng, ground, last - first, self.clutter)
        for thing, color, pattern in zip(range(first, last), colors, patterns, strict=True):
            window, mask = coverage(self.scene, thing, self.image_size)
            part = canvas[window]
            part += mask * (color[:, None, None] + _texture(pattern, mask.shape) - part)
        if self.covered:
            boxes = self.scene.boxes[first:last][self.scene.is_object[first:last]]
            # random numbers of their own: all else stays as it is without covers
            _cover(canvas, np.random.default_rng([*self.key, index, 1]), boxes, ground, self.covered, self.clutter)
        canvas += (2 * _NOISE) * rng.random(canvas.shape[1:], dtype=np.float32) - _NOISE
        np.clip(canvas, 0, 255, out=canvas)
        return torch.from_numpy(canvas.astype(np.uint8))


def _cover(
    canvas: np.ndarray, rng: np.random.Generator, boxes: np.ndarray, ground: np.ndarray, share: float, clutter: float
) -> None:
    """Draw over a part of a `share` of the objects with these boxes (M, 4), from one side of each.

    A cover has about the color of the ground: one in an object's color would look like a square.
    """
    u = rng.random((len(boxes), 3))
    _, patterns = _paints(rng, ground, len(boxes), clutter)
    colors = (ground + rng.uniform(-15, 15, (len(boxes), 3))).astype(np.float32)
    low, high = _COVER
    for box, (chance, where, size), color, pattern in zip(boxes, u, colors, patterns, strict=True):
        if chance >= share:
            continue
        side, part = int(4 * where), low + (high - low) * size
        axis, lower = side % 2, side < 2
        cover = box + (-2, -2, 2, 2)  # the other three sides are covered to beyond the edge
        length = box[axis + 2] - box[axis]
        cover[axis + 2 if lower else axis] = box[axis] + part * length if lower else box[axis + 2] - part * length
        x1, y1, x2, y2 = np.clip(np.round(cover), 0, canvas.shape[-1]).astype(int)
        canvas[:, y1:y2, x1:x2] = color[:, None, None] + _texture(pattern, (y2 - y1, x2 - x1))


def coverage(scene: Scene, thing: int, image_size: int) -> tuple[tuple[slice, ...], np.ndarray]:
    """Return how much of each pixel a thing covers.

    Returns:
        The window as slices of (3, H, W), and the coverage float32 (h, w) in 0..1 inside of it.
    """
    x1, y1 = np.maximum(np.floor(scene.boxes[thing, :2]).astype(int), 0)
    x2, y2 = np.minimum(np.ceil(scene.boxes[thing, 2:]).astype(int), image_size)
    outline = OUTLINES[scene.kind[thing]]
    angle, stretch = scene.angle[thing : thing + 1], scene.stretch[thing : thing + 1]
    picture = Image.new("L", ((x2 - x1) * _SUPERSAMPLE, (y2 - y1) * _SUPERSAMPLE))
    draw = ImageDraw.Draw(picture)
    for polygon, value in ((outline.outer, 255), (outline.hole, 0)):
        if polygon is not None:
            corners = place(polygon, angle, stretch)[0] * scene.scale[thing] + scene.xy[thing] - (x1, y1)
            # PIL counts pixels by their centers: the edge at 0 pixels is at -0.5 there.
            draw.polygon((corners * _SUPERSAMPLE - 0.5).ravel().tolist(), fill=value)
    mask = np.asarray(picture.reduce(_SUPERSAMPLE), dtype=np.float32) * np.float32(1 / 255)
    return (slice(None), slice(y1, y2), slice(x1, x2)), mask


def _background(rng: np.random.Generator, size: int, clutter: float) -> tuple[np.ndarray, np.ndarray]:
    """The ground float32 (3, S, S) and its mean color (3,): broad stains of color under a finer texture of gray."""
    color = rng.uniform(30, 110, 3)
    stains = color + clutter * rng.uniform(-55, 55, (rng.integers(3, 8), rng.integers(3, 8), 3))
    picture = Image.fromarray(np.clip(stains, 0, 255).astype(np.uint8)).resize((size, size), Image.BICUBIC)
    canvas = np.asarray(picture).transpose(2, 0, 1).astype(np.float32)
    if clutter:
        # Cells of unequal sides: the texture has a direction, as cloth or grass has.
        cells = np.maximum(size // rng.integers(3, 12, 2), 2)
        grid = rng.uniform(-30 * clutter, 30 * clutter, cells).astype(np.float32)
        canvas += np.asarray(Image.fromarray(grid).resize((size, size), Image.BILINEAR))
    return canvas, color


def _paints(rng: np.random.Generator, ground: np.ndarray, number: int, clutter: float) -> tuple[np.ndarray, list]:
    """For so many things: colors away from the ground's, float32 (number, 3), and what `_texture` takes for each."""
    # Lighter than the ground, all of them: with either sign a network of this size spends its minute on telling
    # figure from ground (AP 0.40 against 0.64 after 600 steps of one seed each).
    direction = np.abs(rng.standard_normal((number, 3)))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    low, high = _CONTRAST
    step = np.sqrt(3.0) * low * (high / low) ** rng.random((number, 1)) * direction
    # Where that leaves the range of colors, go the other way: the contrast is what was drawn.
    outside = (ground + step < 5) | (ground + step > 250)
    colors = np.clip(ground + np.where(outside, -step, step), 5, 250).astype(np.float32)
    u = rng.random((number, 5))
    stripes = clutter * 25 * np.maximum(2 * u[:, 3] - 1, 0)  # every second thing has some
    patterns = np.stack([2 * np.pi * u[:, 0], 2 * np.pi * u[:, 1], 20 * u[:, 2], stripes, 1.5 + 2.5 * u[:, 4]], axis=1)
    return colors, patterns.tolist()


def _texture(pattern: list[float], shape: tuple[int, int]) -> np.ndarray:
    """A shade from side to side, and stripes across it: float32 (h, w), to be added to the color.

    pattern: direction and phase in radians, strength of the shade and of the stripes in levels, stripes an object.
    """
    angle, phase, shade, stripe, waves = pattern
    h, w = shape
    # `arange` twice is three times faster than `linspace`, which counts at this size.
    x = (np.arange(w, dtype=np.float32) - w / 2) * np.float32(2 / w * math.cos(angle))
    y = (np.arange(h, dtype=np.float32) - h / 2) * np.float32(2 / h * math.sin(angle))
    along = x + y[:, None]
    if not stripe:
        return np.float32(shade) * along
    wave = np.sin(along * np.float32(math.pi * waves) + np.float32(phase))
    return np.float32(shade) * along + np.float32(stripe) * wave
