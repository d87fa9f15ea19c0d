"""What stands where in each image of the shapes data set: annotations without rendering.

Notable: the random numbers are a hash of (seed, split, image, column), so that whole splits are laid out by a few array
operations, while image i stays the same whether 10 or 100,000 images are asked for. Classes are dealt like cards over
blocks of 100 images, so that their shares are met within a box or two a block, even those of the rarest.
Letters: N images, S places for objects in one image, T tries, M objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from imbdet.data.datasets.shapes_outlines import CLASSES, OUTLINES, extents

TRIES = 12  # places tried for an object before it is left out
BLOCK = 100  # images over which classes are dealt
CHUNK = 20 * BLOCK  # images laid out at once; bounds the memory, changes nothing else
_ATTRIBUTES = 8  # kind, size, angle, stretch, 4 of label noise
_MIN_STRETCH = 0.8  # circles become ellipses of at most 5:4
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Scene:
    """Everything drawn in the images of one split, in the order of drawing: background things first.

    offsets int64 (N+1,): image i holds [offsets[i], offsets[i+1]) of the flat arrays. kind int64 (M,) indexes OUTLINES;
    xy (M, 2): where the outline's origin lies; scale, angle, stretch (M,); boxes (M, 4): tight XYXY in pixels;
    noisy (M, 4): the boxes as annotated.
    """

    offsets: np.ndarray
    kind: np.ndarray
    xy: np.ndarray
    scale: np.ndarray
    angle: np.ndarray
    stretch: np.ndarray
    boxes: np.ndarray
    noisy: np.ndarray

    @property
    def is_object(self) -> np.ndarray:
        """bool (M,): whether a thing is of a class, thus annotated; the others are distractors."""
        return self.kind < len(CLASSES)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014): an input bit changes each output bit half of the time."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniforms(key: tuple[int, ...], rows: np.ndarray, columns: int) -> np.ndarray:
    """Return uniform numbers in [0, 1), float64 (N, columns): number (r, c) depends on (key, r, c) alone."""
    with np.errstate(over="ignore"):  # the arithmetic is meant to be modulo 2**64
        state = np.zeros(1, dtype=np.uint64)
        for part in key:
            state = _mix((state + np.uint64(part & (2**64 - 1))) * _GOLDEN + _GOLDEN)
        row = _mix(state + (np.asarray(rows, dtype=np.uint64) + np.uint64(1)) * _GOLDEN)
        grid = row[:, None] + (np.arange(columns, dtype=np.uint64) + np.uint64(1)) * _GOLDEN
        return (_mix(grid) >> np.uint64(11)) * 2.0**-53


def class_probabilities(num_classes: int, ratio: float) -> np.ndarray:
    """Return float64 (K,): geometric decay from the first to the last class, whose frequencies stand `ratio` to 1."""
    weights = float(ratio) ** -np.linspace(0.0, 1.0, num_classes) if num_classes > 1 else np.ones(1)
    return weights / weights.sum()


def centers(u: np.ndarray, place: float) -> np.ndarray:
    """Return places in [-1, 1]² for uniform numbers u (..., 2): uniform at place 0, the center at 1, the border at -1.

    A point lies on the square ring of radius r = u0^(8^place / 2); place 0 gives the square root, which is uniform over
    the area. At 1 the mean radius is 0.2, at -1 it is 0.94 (uniform: 0.67).
    """
    radius = u[..., 0] ** (0.5 * 8.0**place)
    turn = 4.0 * u[..., 1]
    side = np.floor(turn).astype(np.int64)
    along = 2.0 * (turn - side) - 1.0
    ones = np.ones_like(along)
    x = np.choose(side, [along, ones, -along, -ones])
    y = np.choose(side, [-ones, along, ones, -along])
    return radius[..., None] * np.stack([x, y], axis=-1)


def _jitter(boxes: np.ndarray, u: np.ndarray, amount: float) -> np.ndarray:
    """Shift the center by up to `amount` sides and the sides by up to a factor of exp(amount); u (..., 4) in [0, 1)."""
    move = amount * (2.0 * u - 1.0)
    size = boxes[..., 2:] - boxes[..., :2]
    center = (boxes[..., :2] + boxes[..., 2:]) / 2 + move[..., :2] * size
    half = size * np.exp(move[..., 2:]) / 2
    return np.concatenate([center - half, center + half], axis=-1)


@lru_cache(maxsize=16)
def jitter_amount(expected_iou: float) -> float:
    """Return the amount of `_jitter` whose boxes have this mean IoU with the true ones."""
    unit = np.tile([0.0, 0.0, 1.0, 1.0], (4096, 1))
    u = uniforms((7,), np.arange(len(unit)), 4)
    low, high = 0.0, 2.0
    for _ in range(30):
        middle = (low + high) / 2
        noisy = _jitter(unit, u, middle)
        inter = _overlap(unit, noisy)
        iou = inter / (1.0 + _area(noisy) - inter)
        low, high = (middle, high) if iou.mean() > expected_iou else (low, middle)
    return (low + high) / 2


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Areas of intersection of broadcast boxes (..., 4)."""
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.prod(np.maximum(sides, 0.0), axis=-1)


def lay_out(spec) -> Scene:
    """Return all scenes of a split.

    spec: a `ShapesSpec`. Objects are placed from the largest to the smallest, then the distractors; each takes the
    first of TRIES places where it overlaps no earlier one by more than `occlusion` of the smaller box, and is left out
    if there is none.
    """
    whole = -(-spec.num_images // BLOCK) * BLOCK
    chunks = [_lay_out_rows(spec, np.arange(start, min(start + CHUNK, whole))) for start in range(0, whole, CHUNK)]
    counts, *columns = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    offsets = np.concatenate([[0], np.cumsum(counts[: spec.num_images])])
    return Scene(offsets, *(column[: offsets[-1]] for column in columns))


def _lay_out_rows(spec, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Counts (N,) of the things in each of these images, and the flat arrays of Scene after its offsets."""
    fewest, most = spec.objects_per_image
    slots = most + spec.distractors
    width = _ATTRIBUTES + 2 * TRIES
    u = uniforms((spec.seed, spec.split_code), rows, 2 + slots * width)
    number = fewest + np.floor(u[:, 0] * (most - fewest + 1)).astype(np.int64)
    extra = np.floor(u[:, 1] * (spec.distractors + 1)).astype(np.int64)
    slot = np.arange(slots)
    wanted = np.where(slot < most, slot < number[:, None], slot - most < extra[:, None])
    u = u[:, 2:].reshape(len(rows), slots, width)
    for block in range(0, len(rows), BLOCK):
        here = np.s_[block : block + BLOCK, :most, 0]
        u[here] = _deal(u[here], wanted[here[:2]])

    low, high = spec.size
    size = low * (high / low) ** (u[..., 1] ** (2.0**-spec.size_skew))
    # Objects first, from large to small; distractors after them.
    order = np.argsort(np.where(slot < most, -size, np.inf), axis=1, kind="stable")
    u = np.take_along_axis(u, order[..., None], 1)
    size, wanted = np.take_along_axis(size, order, 1), np.take_along_axis(wanted, order, 1)

    other = len(CLASSES) + np.floor(u[..., 0] * (len(OUTLINES) - len(CLASSES))).astype(np.int64)
    kind = np.where(slot < most, _classes(u[..., 0], spec.probabilities), other)
    angle, stretch = 2 * np.pi * u[..., 2], _MIN_STRETCH + (1 - _MIN_STRETCH) * u[..., 3]
    extent = extents(kind.ravel(), angle.ravel(), stretch.ravel()).reshape(*kind.shape, 4)
    scale = size / (extent[..., 2:] - extent[..., :2]).max(axis=-1)
    extent *= scale[..., None]

    boxes, placed = _place(extent[..., 2:] - extent[..., :2], u[..., _ATTRIBUTES:], wanted, spec)
    noisy = boxes
    if spec.label_noise < 1:
        noisy = np.clip(_jitter(boxes, u[..., 4:8], jitter_amount(spec.label_noise)), 0.0, spec.image_size)
    xy = boxes[..., :2] - extent[..., :2]
    # What is drawn later lies on top: objects over distractors, small objects over large ones.
    drawing = np.r_[np.arange(most, slots), np.arange(most)]
    keep = placed[:, drawing]
    flat = (a[:, drawing][keep] for a in (kind, xy, scale, angle, stretch, boxes, noisy))
    return (keep.sum(axis=1), *flat)


def _deal(u: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The wanted ones of these uniform numbers, in random order but evenly spread over [0, 1); the others unchanged."""
    dealt = u.copy()
    number = int(wanted.sum())
    if number:
        ranks = np.empty(number)
        ranks[np.argsort(u[wanted], kind="stable")] = np.arange(number)
        # One common offset, the first number's fractional part, keeps each share right on average.
        dealt[wanted] = (ranks + (u[wanted][0] * 2**20) % 1.0) / number
    return dealt


def _classes(u: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Class indices for uniform numbers, by inverting the cumulative distribution."""
    return np.searchsorted(np.cumsum(probabilities)[:-1], u, side="right")


def _place(sides: np.ndarray, u: np.ndarray, wanted: np.ndarray, spec) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, S, 4) for things of these sides (N, S, 2), and which found a place (N, S); u (N, S, 2T)."""
    rows, slots = wanted.shape
    boxes = np.zeros((rows, slots, 4))
    placed = np.zeros((rows, slots), dtype=bool)
    every = np.arange(rows)
    for s in range(slots):
        half = sides[:, s, None] / 2  # (N, 1, 2)
        spot = centers(u[:, s].reshape(rows, TRIES, 2), spec.place)
        middle = spec.image_size / 2 + spot * (spec.image_size / 2 - half)
        tried = np.concatenate([middle - half, middle + half], axis=-1)  # (N, T, 4)
        fits = np.ones((rows, TRIES), dtype=bool)
        for before in range(s):
            other = boxes[:, before, None]
            smaller = np.minimum(_area(other), _area(tried))
            fits &= ~(placed[:, before, None] & (_overlap(tried, other) > spec.occlusion * smaller))
        first = fits.argmax(axis=1)
        boxes[:, s] = tried[every, first]
        placed[:, s] = wanted[:, s] & fits[every, first]
    return boxes, placed
