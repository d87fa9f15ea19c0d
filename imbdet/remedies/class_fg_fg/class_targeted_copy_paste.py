"""Class-targeted copy-paste: objects of rare classes are pasted until these have a share of all boxes.

Letters: N images, K classes, m objects of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...data.augment import cut, keep_objects, resize
from ...data.mixing import joined, paste, whole_pixels
from ...data.records import Records
from ...data.statistics import takes_part
from ...slots import Mix
from ._class_counts import Change

PICTURES = 5  #: drawn by the control in search of background


class ClassTargetedCopyPaste(Mix):
    """Pastes objects of rare classes into pictures, so that each class has a stated share of the boxes.

    Slot: mix
    Imbalance: class_fg_fg
    Home: either
    Source: ours, 2026; pasting objects is that of Ghiasi et al. 2021, arXiv 2012.07177 (simple copy-paste)
    Neutral: level=0
    Differs: nothing, as there is no published form

    With n_c the boxes of class c in the N images, S their sum, and K' classes that have any, a class is rare if its
    share of the boxes is below t = level / K'. Among the rare ones, R of them with n_R boxes, x_c are pasted in N
    pictures on average, so that all end at t exactly; classes that t passes by this become rare, too:

        X = sum_c x_c = (R t S - n_R) / (1 - R t),    x_c = t (S + X) - n_c,    (n_c + x_c) / (S + X) = t

    A picture gets floor(X / N) objects and one more with the probability that remains; the class of each is c with the
    probability x_c / X, the object any of that class. Its rectangle is cut from its own picture, scaled as that picture
    would be to fit this one, times U(scale), and pasted where of `tries` random places it covers the other objects
    least. Of an object below, what can be seen stays if it is the share `least` of its box or more.

    Rectangles that show another object, too (by the share `least` of its box), are not taken unless a class has no
    others; what they show comes along with its box. So unlike repeated images this adds rare boxes and no others. But a
    rectangle brings its background and its edges: a detector may learn the seam. The control is `background=True`
    (configs/controls/seam.py): as many rectangles of these sizes, of background and without a label. Shares are
    those of pictures that come equally often, before pasting covers any.

    The log says what each class gains, and how often each of its objects comes. Cost: none in the step but for more
    objects; X / N more pictures are read for each.

    Args:
        level: 0..1, the share of boxes wanted for each class, in parts of an equal share 1 / K'; 1 makes all equal.
        scale: lowest and highest factor of the size, above 0.
        least: 0..1.
        tries: places of which the best is taken, at least 1.
        background: paste background of the same sizes instead.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> from imbdet.data.datasets.shapes import shapes
        >>> remedy = ClassTargetedCopyPaste(level=0.5)
        >>> remedy.build(shapes(num_images=200))
        >>> [round(ratio, 1) for ratio in remedy.change.ratios]
        [51.8, 5.9]
    """

    def __init__(
        self,
        level: float = 0.5,
        scale: Sequence[float] = (0.8, 1.25),
        least: float = 0.1,
        tries: int = 10,
        background: bool = False,
    ):
        for name, value in (("level", level), ("least", least)):
            if not 0 <= value <= 1:
                raise ValueError(f"ClassTargetedCopyPaste: {name}={value}; it must lie in 0..1")
        if not 0 < scale[0] <= scale[1] or tries < 1:
            raise ValueError(
                f"ClassTargetedCopyPaste: scale={scale}, tries={tries}; expected ascending factors above 0 and a try"
            )
        self.level, self.least, self.tries, self.background = level, least, tries, background
        self.scale = (scale[0], scale[1])

    def build(self, records: Records) -> None:
        """Find what is to be pasted, and how often."""
        counts = records.class_counts().astype(float)
        self.objects = _objects(records, np.flatnonzero(pasted_boxes(counts, self.level)), self.least)
        # a class whose boxes all lie outside of their pictures has nothing to paste
        able = np.isin(np.arange(len(counts)), list(self.objects))
        self.pasted = pasted_boxes(counts, self.level, able)
        self.rate = float(self.pasted.sum()) / len(records)
        self.shares = self.pasted / max(self.pasted.sum(), 1e-12)
        after = counts if self.background else counts + self.pasted
        self.change = Change(records.class_names, counts, after, len(records))

    def describe(self) -> str:
        """Lines for the log: how many are pasted, how often each object of a class, boxes of each class."""
        what = "rectangles of background" if self.background else "objects"
        times = {self.change.names[c]: self.pasted[c] / len(rows) for c, rows in self.objects.items()}
        often = sorted(times, key=lambda name: -times[name])[:5]
        shown = ", ".join(f"{name} {times[name]:.3g}" for name in often)
        return (
            f"ClassTargetedCopyPaste(level {self.level:g}): {self.rate:.3g} {what} are pasted into a picture"
            + (f"; times that each comes in an epoch: {shown}" if shown else "")
            + f"\n{self.change.describe()}"
        )

    def __call__(self, image: Tensor, target: dict, draw: Any, rng: np.random.Generator) -> tuple[Tensor, dict]:
        if not self.rate:
            return image, target
        for _ in range(int(self.rate) + int(rng.random() < self.rate % 1)):
            rows = self.objects[int(rng.choice(len(self.shares), p=self.shares))]
            index, row = rows[int(rng.integers(len(rows)))].tolist()
            part, more, size = self._object(image, draw(rng, index), row, rng)
            if self.background:
                part, more = self._background(part, draw, rng), keep_objects(more, torch.zeros(len(more["boxes"])) > 0)
            part, more = resize(part, more, *size)
            x, y, _ = self._place(size, image, target["boxes"], rng)
            image, target = paste(image, target, part, x, y, self.least)
            target = joined(target, {**more, "boxes": more["boxes"] + more["boxes"].new_tensor([x, y, x, y])})
        return image, target

    def _object(
        self, image: Tensor, drawn: tuple[Tensor, dict], row: int, rng: np.random.Generator
    ) -> tuple[Tensor, dict, list[int]]:
        """The rectangle of an object in its picture, what shows in it, and the (height, width) to be pasted."""
        other, more = drawn
        x1, y1, x2, y2 = whole_pixels(more["boxes"][row], *other.shape[1:])
        room, sides = image.shape[1:], (y2 - y1, x2 - x1)
        fit = rng.uniform(*self.scale) * min(room[0] / other.shape[1], room[1] / other.shape[2])
        fit = min(fit, room[0] / sides[0], room[1] / sides[1])
        size = [max(round(side * fit), 1) for side in sides]
        return other[:, y1:y2, x1:x2], cut(more, x1, y1, x2, y2, self.least), size

    def _background(self, like: Tensor, draw: Any, rng: np.random.Generator) -> Tensor:
        """A rectangle of that size, or as large as its picture, in which objects show as little as can be found."""
        found: list[tuple[float, Tensor]] = []
        for _ in range(PICTURES):
            other, more = draw(rng)
            size = [min(a, b) for a, b in zip(like.shape[1:], other.shape[1:], strict=True)]
            x, y, overlap = self._place(size, other, more["boxes"], rng)
            found.append((overlap, other[:, y : y + size[0], x : x + size[1]]))
            if not overlap:
                break
        return min(found, key=lambda pair: pair[0])[1]

    def _place(
        self, size: Sequence[int], image: Tensor, boxes: Tensor, rng: np.random.Generator
    ) -> tuple[int, int, float]:
        """The corner of a rectangle of this size in the image that covers the boxes least, and the largest share of one
        of them that it covers; the first of several that are equal.
        """
        rooms = (image.shape[2] - size[1], image.shape[1] - size[0])
        corners = rng.integers(0, np.array(rooms) + 1, (self.tries, 2))
        windows = np.concatenate((corners, corners + [size[1], size[0]]), axis=1)
        covered = _shares(windows, boxes.numpy().astype(np.float64)).max(axis=1, initial=0.0)
        best = int(covered.argmin())
        return int(corners[best, 0]), int(corners[best, 1]), float(covered[best])


def pasted_boxes(counts: np.ndarray, level: float, able: np.ndarray | None = None) -> np.ndarray:
    """Return float64 (K,): boxes to add to each class in N pictures, x_c of `ClassTargetedCopyPaste`.

    Args:
        counts: float (K,) boxes. level: 0..1. able: bool (K,), classes that can be pasted; None for all with boxes.
    """
    present = takes_part(counts)
    able = present if able is None else present & able
    share, total = level / max(present.sum(), 1), counts.sum()
    rare = np.zeros(len(counts), dtype=bool)
    while True:
        more = able & ~rare & (counts < share * total * (1 - 1e-12))
        if not more.any():
            return np.where(rare, share * total - counts, 0.0)
        rare |= more
        total = (counts.sum() - counts[rare].sum()) / (1 - rare.sum() * share)  # S + X


def _objects(records: Records, labels: np.ndarray, least: float) -> dict[int, np.ndarray]:
    """{label: int64 (n, 2) of image and row of its target} of the objects whose rectangle shows no other object; of all
    objects of a class where each shows one.
    """
    wanted = np.isin(records.labels, labels) & ~records.crowd
    alone: dict[int, list] = {}
    beside: dict[int, list] = {}
    for index in np.unique(records.object_image[wanted]).tolist():
        target = records.target(index)
        boxes, own = target["boxes"].numpy().astype(np.float64), target["labels"].numpy()
        shown = _shares(np.concatenate((np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])), axis=1), boxes) >= least
        for row in np.flatnonzero(np.isin(own, labels)).tolist():
            place = alone if np.delete(shown[row], row).sum() == 0 else beside
            place.setdefault(int(own[row]), []).append((index, row))
    return {label: np.array(alone.get(label) or beside[label]) for label in sorted({*alone, *beside})}


def _shares(windows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """(T, m): the share of each box (m, 4) that lies in each window (T, 4)."""
    sides = np.minimum(windows[:, None, 2:], boxes[None, :, 2:]) - np.maximum(windows[:, None, :2], boxes[None, :, :2])
    return np.maximum(sides, 0.0).prod(axis=2) / (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
