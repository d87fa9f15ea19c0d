"""The outlines of the shapes data set: ten classes, and the things that look like a class and are none.

Notable: every outline is a polygon (curves have enough corners to be smooth at 64 px), so that the tight box of a
turned and stretched shape is the extent of its corners, exactly and without rendering a pixel.
Letters: V corners of an outline.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Outline(NamedTuple):
    """A polygon around the origin, about one unit in radius, with an optional hole.

    outer: float64 (V, 2), the corners in order; hole: float64 (V, 2) or None, cut out of it and inside of it.
    """

    outer: np.ndarray
    hole: np.ndarray | None = None


def _arc(radius: float, start: float, stop: float, corners: int = 40, center: tuple[float, float] = (0.0, 0.0)):
    """Corners (V, 2) of an arc from angle start to stop, in degrees, both ends included."""
    angles = np.radians(np.linspace(start, stop, corners))
    return np.stack([center[0] + radius * np.cos(angles), center[1] + radius * np.sin(angles)], axis=1)


def _regular(corners: int, inner: float | None = None) -> np.ndarray:
    """A regular polygon; with `inner` a star whose inner corners lie at that radius."""
    if inner is None:
        return _arc(1.0, -90, 270, corners + 1)[:-1]
    star = _arc(1.0, -90, 270, 2 * corners + 1)[:-1]
    star[1::2] *= inner
    return star


def _crescent(offset: float = 0.5, inner: float = 0.8) -> np.ndarray:
    """The unit disc without a disc of radius `inner` whose center lies `offset` to the right."""
    # Both circles meet where x = (1 + offset² - inner²) / (2 offset).
    x = (1 + offset**2 - inner**2) / (2 * offset)
    tip = np.degrees(np.arccos(x))
    inner_tip = np.degrees(np.arctan2(np.sqrt(1 - x**2), x - offset))
    bite = _arc(inner, 360 - inner_tip, inner_tip, center=(offset, 0.0))
    return np.concatenate([_arc(1.0, tip, 360 - tip), bite[1:-1]]) + (0.3, 0.0)


def _corners(*rows: tuple[float, float]) -> np.ndarray:
    """A polygon from its corners."""
    return np.array(rows, dtype=np.float64)


def _cross(arm: float = 0.32) -> np.ndarray:
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
    turns = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in np.radians([0, 90, 180, 270])]
    return np.concatenate([np.array(quarter) @ turn.T for turn in turns])


def _blob(seed: int) -> np.ndarray:
    """A smooth closed curve of random radius: shape-like, no class."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    waves = sum(rng.uniform(-1, 1) / k * np.cos(k * angles + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    radius = 0.75 + 0.4 * waves / np.abs(waves).max()
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


# From the most to the least frequent class of an imbalanced split. Neighbors in looks (circle and ring, square and
# diamond, cross and star, triangle and arrow) are spread over the list, so that being rare does not mean being alike.
CLASSES: dict[str, Outline] = {
    "circle": Outline(_arc(1.0, 0, 360, 49)[:-1]),
    "triangle": Outline(_regular(3)),
    "cross": Outline(_cross()),
    "diamond": Outline(_corners((0, -1.0), (0.55, 0), (0, 1.0), (-0.55, 0))),
    "ring": Outline(_arc(1.0, 0, 360, 49)[:-1], _arc(0.58, 0, 360, 33)[:-1]),
    "arrow": Outline(
        _corners((1.0, 0), (0.15, -0.8), (0.15, -0.3), (-1.0, -0.3), (-1.0, 0.3), (0.15, 0.3), (0.15, 0.8)),
    ),
    "star": Outline(_regular(5, inner=0.42)),
    "square": Outline(_corners((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))),
    "crescent": Outline(_crescent()),
    "hourglass": Outline(_corners((-0.75, -1.0), (0.75, -1.0), (0.15, 0), (0.75, 1.0), (-0.75, 1.0), (-0.15, 0))),
}

# Hard background: each is close to a class at first sight.
DISTRACTORS: dict[str, Outline] = {
    "blob_a": Outline(_blob(1)),
    "blob_b": Outline(_blob(2)),
    "blob_c": Outline(_blob(3)),
    "half_disc": Outline(_arc(1.0, 0, 180)),
    "open_ring": Outline(np.concatenate([_arc(1.0, 50, 310), _arc(0.62, 310, 50)])),
    "bar": Outline(_corners((-1.0, -0.2), (1.0, -0.2), (1.0, 0.2), (-1.0, 0.2))),
    "angle": Outline(_corners((-0.8, -1.0), (-0.25, -1.0), (-0.25, 0.45), (0.8, 0.45), (0.8, 1.0), (-0.8, 1.0))),
    "zigzag": Outline(
        # A Z of two corners and its half turn.
        np.concatenate([half := _corners((-0.9, -0.9), (0.25, -0.9), (0.25, 0.45), (0.9, 0.45)), -half]),
    ),
}

OUTLINES: tuple[Outline, ...] = (*CLASSES.values(), *DISTRACTORS.values())


def place(outline: np.ndarray, angle: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """Return corners of one outline, stretched along its own y axis and then turned, for many objects at once.

    outline (V, 2); angle (M,) in radians; stretch (M,), a factor. Returns (M, V, 2).
    """
    x, y = outline[:, 0], outline[:, 1] * np.asarray(stretch)[:, None]
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def extents(kind: np.ndarray, angle: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """Return tight boxes (M, 4) XYXY of objects at unit scale around their own origin; kind (M,) indexes OUTLINES."""
    boxes = np.zeros((len(kind), 4))
    for k in np.unique(kind):
        here = kind == k
        corners = place(OUTLINES[k].outer, angle[here], stretch[here])
        boxes[here] = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return boxes
