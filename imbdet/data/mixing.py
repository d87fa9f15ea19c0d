"""What remedies of the slot `mix` share: when they act, and putting a part of a picture onto another.

Notable: a pasted part covers what lies below it. An object stays with the part of its box that can still be seen, if
that is at least the share `least` of it, and goes else; on whole pixels, as the parts are.

Letters: m objects of a picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from imbdet.data.augment import drop_empty, keep_objects
from imbdet.slots import Mix


class OccasionalMix(Mix):
    """Acts on a share of the pictures, and not at the end of the training. A remedy defines `mixed`.

    Args:
        prob: 0..1, how often it acts; at 0 every picture is passed on as it is.
        off: 0..1, the share of the training at its end in which it does not act.
        images: pictures of the whole training (see `images_in_training`), needed with `off`.

    Raises:
        ValueError: a number out of range, or `off` without `images`.
    """

    def __init__(self, prob: float, off: float = 0.0, images: float | None = None):
        for name, value in (("prob", prob), ("off", off)):
            if not 0 <= value <= 1:
                raise ValueError(f"{type(self).__name__}: {name}={value}; it must lie in 0..1")
        if off and images is None:
            raise ValueError(f"{type(self).__name__}: off={off} of how many? Give images, those of the whole training")
        self.prob = prob
        self.until = float("inf") if images is None else (1 - off) * images

    def __call__(self, image: Tensor, target: dict, draw: Any, rng: np.random.Generator) -> tuple[Tensor, dict]:
        if rng.random() >= self.prob or draw.position >= self.until:
            return image, target
        return self.mixed(image, target, draw, rng)

    def mixed(self, image: Tensor, target: dict, draw: Any, rng: np.random.Generator) -> tuple[Tensor, dict]:
        """Put others into the picture; see `Mix`."""
        raise NotImplementedError


def images_in_training(iterations: int, batch_size: int, accumulate: int = 1) -> int:
    """Return how many pictures a training sees over all processes."""
    return int(iterations) * batch_size * accumulate


def joined(target: dict, more: dict) -> dict:
    """Put the objects of another target of the same picture behind those of this one."""
    return {**target, **{key: torch.cat((target[key], more[key])) for key in ("boxes", "labels")}}


def paste(image: Tensor, target: dict, part: Tensor, x: int, y: int, least: float) -> tuple[Tensor, dict]:
    """Put a part (3, b, a) of another picture over the image, its left upper corner at (x, y).

    Returns:
        a new image, and the target of what can still be seen of the objects below.
    """
    image, covered = image.clone(), np.zeros(image.shape[1:], dtype=bool)
    where = slice(y, y + part.shape[1]), slice(x, x + part.shape[2])
    image[(slice(None), *where)] = part
    covered[where] = True
    return image, visible(target, covered, least)


def visible(target: dict, covered: np.ndarray, least: float) -> dict:
    """Keep what can be seen of the objects where the pixels of the mask bool (H, W) cover them.

    A box that is covered in part shrinks to the smallest one around the pixels of it that are not; the object goes if
    they are less than the share `least` of its pixels, or none.
    """
    boxes = target["boxes"].numpy().copy()
    keep = np.ones(len(boxes), dtype=bool)
    for i, box in enumerate(boxes):
        x1, y1 = np.floor(box[:2]).astype(int)
        x2, y2 = np.ceil(box[2:]).astype(int)
        seen = ~covered[y1:y2, x1:x2]
        if seen.all():
            continue
        keep[i] = seen.any() and seen.mean() >= least
        if keep[i]:
            columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
            inner = (x1 + columns[0], y1 + rows[0], x1 + columns[-1] + 1, y1 + rows[-1] + 1)
            box[:2], box[2:] = np.maximum(box[:2], inner[:2]), np.minimum(box[2:], inner[2:])
    return drop_empty(keep_objects({**target, "boxes": torch.from_numpy(boxes)}, torch.from_numpy(keep)))


def whole_pixels(box: Tensor, height: int, width: int) -> tuple[int, int, int, int]:
    """Return the smallest rectangle of whole pixels of a picture around a box (4,) in it."""
    x1, y1, x2, y2 = box.tolist()
    return (
        max(int(np.floor(x1)), 0),
        max(int(np.floor(y1)), 0),
        min(int(np.ceil(x2)), width),
        min(int(np.ceil(y2)), height),
    )
