"""Image samplers that let some images come more often than others: what `image_sampler` remedies of this folder share.

Notable: an image that is to come r times an epoch, r no whole number, comes floor(r) or ceil(r) times, rounded anew at
random in each epoch, so that its mean is exactly r. All images are rounded with one random number along a random order
(systematic sampling), instead of each with its own: the number of images of an epoch then varies by one at most and
follows from that one number, so that position 10^6 of the stream is found without drawing the epochs before it.
Letters: N images, K classes.
"""

from collections.abc import Iterator

import numpy as np

from ...data.records import Records
from ...data.samplers import ROUNDING, SHUFFLE
from ...data.statistics import takes_part
from ...slots import ImageSampler
from ._class_counts import Change, ImageClasses

ONE = 2**20  # repeats are whole multiples of 1 / ONE: sums are exact, so that lengths of epochs are, on any machine


class ImageRepeats(ImageSampler):
    """How often each image comes, and what that does to the classes. A sampler adds `indices`.

    Args:
        records: the data set.
        repeats: float (N,), how often each image comes in an epoch on average.
        seed: of the stream.
        max_repeats: no image comes more often than this in an epoch; None sets no limit.
        settings: what the log says of the remedy's own settings.

    Attributes:
        repeats: float64 (N,), within the limit, to a millionth. change: a Change.

    Raises:
        ValueError: max_repeats below 1.
    """

    def __init__(self, records: Records, repeats: np.ndarray, seed: int, max_repeats: float | None, settings: str):
        if max_repeats is not None and not max_repeats >= 1:
            raise ValueError(f"max_repeats must be at least 1 or None, got {max_repeats}")
        limit = np.inf if max_repeats is None else max_repeats
        self.seed = seed
        self._held_back = int((repeats > limit).sum())
        self._settings = f"{settings}, max_repeats {max_repeats:g}" if max_repeats is not None else settings
        self._fixed = np.rint(np.minimum(repeats, limit) * ONE).astype(np.int64)
        assert self._fixed.min() >= 0 and self._fixed.sum() >= ONE, (repeats.min(), repeats.sum())
        self.repeats = self._fixed / ONE
        n, held = len(records), ImageClasses.of(records)
        after = held.expected_boxes(self.repeats) * (n / self.repeats.sum())
        self.change = Change(records.class_names, held.expected_boxes(np.ones(n)), after, n)
        self.change.warn_if_worse(type(self).__name__)

    def describe(self) -> str:
        """Return lines for the log: settings, length and variety of an epoch, boxes of each class before and after."""
        r, held = self.repeats, f"; max_repeats holds {self._held_back} back" if self._held_back else ""
        variety = r.sum() ** 2 / (r**2).sum()  # Kish's effective sample size
        return (
            f"{type(self).__name__}({self._settings}): {len(r)} images come {r.sum():.1f} times an epoch, each"
            f" {r.min():.3g} to {r.max():.3g} times{held}; as varied as {variety:.0f} images that come equally often\n"
            f"{self.change.describe()}"
        )


class RepeatedImages(ImageRepeats):
    """The stream of an `ImageRepeats`: epochs in which each image comes about `repeats` times, in random order.

    Where all repeats are 1 it is the stream of `UniformSampler`, number by number: the first copies of the images keep
    that order, further copies are strewn among them at random.
    """

    def indices(self, start: int = 0) -> Iterator[int]:
        """Return image indices from position `start` of the endless stream on; holds one epoch in memory."""
        rounding = np.random.default_rng([self.seed, ROUNDING])
        total, epoch = int(self._fixed.sum()), 0
        while True:
            offset = int(rounding.integers(ONE))
            length = (total + offset) // ONE
            if start < length:
                yield from self._epoch(epoch, offset)[start:].tolist()
                start = length
            start, epoch = start - length, epoch + 1

    def _epoch(self, epoch: int, offset: int) -> np.ndarray:
        """int64 (L,): the images of one epoch in their order; offset in 0..ONE - 1 rounds the repeats."""
        rng = np.random.default_rng([self.seed, SHUFFLE, epoch])
        order = rng.permutation(len(self._fixed))
        copies = np.diff((np.cumsum(self._fixed[order]) + offset) // ONE, prepend=0)
        images = np.repeat(order, copies)
        place = rng.random(len(images)) * len(order)
        rank = np.flatnonzero(copies)
        place[(np.cumsum(copies) - copies)[rank]] = rank
        return images[np.argsort(place, kind="stable")]


def repeats_of_rarest(records: Records, frequency: np.ndarray, threshold: float) -> np.ndarray:
    """Return float64 (N,): r_i = max over the classes c in image i of max(1, sqrt(threshold / frequency[c])); 1 without
    any.

    frequency: float (K,), 0 only for classes without boxes.
    """
    held, factor = ImageClasses.of(records), np.ones(len(frequency))
    present = takes_part(frequency)
    factor[present] = np.maximum(1, np.sqrt(threshold / frequency[present]))
    repeats = np.ones(len(records))
    np.maximum.at(repeats, held.images, factor[held.labels])
    return repeats


def threshold_or_median(threshold: float | None, frequency: np.ndarray) -> tuple[float, str]:
    """Return the threshold in 0..1, by default the median of the frequencies (K,) that are not 0; and how the log calls
    it.

    Raises:
        ValueError: a threshold outside 0..1.
    """
    if threshold is None:
        present = frequency[takes_part(frequency)]
        threshold = float(np.median(present)) if len(present) else 0.0
        return threshold, f"threshold {threshold:.3g} (that of the median class)"
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is a share of the images in 0..1, or None for the median class's, got {threshold}")
    return float(threshold), f"threshold {threshold:g}"
