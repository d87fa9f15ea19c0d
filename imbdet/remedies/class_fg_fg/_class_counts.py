"""What a choice of images does to the number of boxes of each class: expected counts, and their comparison.

Notable: an image brings all its objects along. So a remedy that repeats images is judged by the boxes that it really
brings, of all classes, and says so when the ratio of the most to the least frequent class grows instead of falling.
Letters: N images, K classes, E pairs of an image and a class that is in it.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from ...data.records import Records
from ...data.statistics import takes_part


@dataclass(frozen=True)
class ImageClasses:
    """Which classes each image holds, crowd left out; sorted by image, each pair once.

    images: int64 (E,) index of the image. labels: int64 (E,). boxes: int64 (E,) boxes of that class in that image.
    num_images: N. num_classes: K.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    num_images: int
    num_classes: int

    @classmethod
    def of(cls, records: Records) -> "ImageClasses":
        keep, k = ~records.crowd, records.num_classes
        pairs, boxes = np.unique(records.object_image[keep] * k + records.labels[keep], return_counts=True)
        return cls(pairs // max(k, 1), pairs % max(k, 1), boxes, len(records), k)

    def only(self, kept: np.ndarray) -> "ImageClasses":
        """Return the same with the classes of a mask (K,) counted through; the others must be in no image."""
        return replace(self, labels=(np.cumsum(kept) - 1)[self.labels], num_classes=int(kept.sum()))

    def expected_boxes(self, repeats: np.ndarray) -> np.ndarray:
        """Return float64 (K,): boxes of each class when image i comes repeats[i] times, repeats (N,)."""
        weights = self.boxes * repeats[self.images]
        return np.bincount(self.labels, weights=weights, minlength=self.num_classes)


@dataclass(frozen=True)
class Change:
    """Boxes of each class that equally many drawn images bring, without and with a remedy.

    names: K. before, after: float64 (K,). draws: how many images are drawn.
    """

    names: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray
    draws: int

    @property
    def ratios(self) -> tuple[float, float]:
        """Most to least frequent class, before and after, of the classes with boxes; inf where one has lost its
        last."""
        present = takes_part(self.before)
        if not present.any():
            return float("nan"), float("nan")
        before, after = self.before[present], self.after[present]
        return float(before.max() / before.min()), float(after.max() / after.min()) if after.min() > 0 else np.inf

    def describe(self, limit: int = 20) -> str:
        """Return lines for the log; with more classes than `limit`, only the most and least frequent ones."""
        order = np.argsort(-self.before, kind="stable")
        order = order[takes_part(self.before)[order]]
        if len(order) > limit:
            order = np.concatenate([order[: limit // 2], order[-(limit - limit // 2) :]])
        lines = [f"  boxes in {self.draws} drawn images, without -> with it:"]
        lines += [f"    {self.names[k]}: {self.before[k]:.0f} -> {self.after[k]:.1f}" for k in order]
        before, after = self.ratios
        return "\n".join([*lines, f"    most to least frequent class {before:.3g} -> {after:.3g}"])

    def warn_if_worse(self, remedy: str) -> None:
        """Give a UserWarning when the ratio has grown by more than rounding."""
        before, after = self.ratios
        if after > before * (1 + 1e-6):
            warnings.warn(
                f"{remedy} makes the classes less equal, not more: most to least frequent {before:.3g} -> {after:.3g}."
                " An image brings all its classes along; co_occurrence_sampling reckons with that",
                stacklevel=4,
            )
