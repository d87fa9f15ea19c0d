"""Class-aware sampling: a class first, all equally likely, then an image that holds it.

Notable: the stream is a function of the position, in closed form. Time goes in rounds; in each, class c has its turn
or not, so that after t rounds it has had floor(t g_c + u_c) turns, g_c <= 1 its rate and u_c in 0..1 its own offset.
From that number follow the place in its list of images and the shuffle of that list; nothing is counted along the way.
Letters: N images, K classes.
"""

from bisect import bisect_right
from collections.abc import Iterator

import numpy as np

from ...data.records import Records
from ...data.samplers import CLASS_IMAGES, CLASS_ORDER, ROUNDING
from ._class_counts import ImageClasses
from ._repeats import ONE, ImageRepeats


class ClassAwareSampling(ImageRepeats):
    """Goes round the classes, and for each takes the next of its images.

    Slot: image_sampler
    Imbalance: class_fg_fg
    Home: either
    Source: Shen, Lin, Huang 2016, arXiv 1512.05830, class-aware sampling
    Neutral: none that gives the same numbers; where every image holds one class and all classes are in equally many
        images, each image comes once in N draws, as in the baseline
    Differs: images without objects, which the source has none of, keep their share of the stream; a class with so few
        images that its turns would repeat them more than max_repeats times sits out part of its turns

    The classes are shuffled and each has one turn, then they are shuffled anew. At its turn a class gives the next of
    its images; when all of them have been given, they are shuffled anew. So a batch holds the classes as evenly as it
    can, and in N draws an image comes

        r_i = (N / K) sum over the classes c in image i of 1 / n_c

    times, with n_c the images that hold c, crowd left out. A class is drawn equally often as others, but its boxes are
    not equally frequent: an image drawn for its rare class brings its frequent ones along.

    Args:
        records: the data set.
        seed: of the stream.
        max_repeats: in N draws no class gives each of its images more often than that; an image of several rare
            classes may come that often for each. None sets no limit (the source).

    Raises:
        ValueError: max_repeats below 1.

    Example:
        >>> from imbdet.data.datasets.shapes import shapes
        >>> sampler = ClassAwareSampling(shapes(num_images=200), seed=0)
        >>> [round(ratio, 1) for ratio in sampler.change.ratios]
        [51.8, 9.5]
    """

    def __init__(self, records: Records, seed: int = 0, max_repeats: float | None = 10.0):
        if max_repeats is not None and not max_repeats >= 1:
            raise ValueError(f"max_repeats must be at least 1 or None, got {max_repeats}")
        held = ImageClasses.of(records)
        by_class = held.images[np.argsort(held.labels, kind="stable")]
        self._lists = [x for x in np.split(by_class, np.cumsum(records.image_counts())[:-1]) if len(x)]
        empty = np.setdiff1d(np.arange(len(records)), held.images)
        rates = _rates(np.array([len(x) for x in self._lists]), len(records) - len(empty), max_repeats)
        if len(empty):  # one more list, with a rate that gives it its share; above 1 it has several turns a round
            self._lists.append(empty)
            filled = len(records) - len(empty)
            rates = np.append(rates, rates.sum() * len(empty) / filled if filled else 1.0)
        self._rates = np.maximum(1, np.rint(rates * ONE)).astype(np.int64)
        self._offsets = np.random.default_rng([seed, ROUNDING]).integers(ONE, size=len(self._rates))

        repeats, sizes = np.zeros(len(records)), np.array([len(x) for x in self._lists])
        each = len(records) * self._rates / self._rates.sum() / sizes
        np.add.at(repeats, np.concatenate(self._lists), np.repeat(each, sizes))
        limit = "no limit" if max_repeats is None else f"max_repeats {max_repeats:g} for each class"
        super().__init__(records, repeats, seed, None, limit)

    def indices(self, start: int = 0) -> Iterator[int]:
        """Return image indices from position `start` of the endless stream on."""
        # a list with rate 1 has a turn in each round, so that round t begins at position t or later
        number = bisect_right(range(start + 2), start, key=lambda t: int(self._turns(t).sum())) - 1
        start -= int(self._turns(number).sum())
        shuffled: dict[int, tuple[int, np.ndarray]] = {}
        while True:
            yield from self._round(number, shuffled)[start:]
            number, start = number + 1, 0

    def _turns(self, rounds: int) -> np.ndarray:
        """int64: the turns that each list has had in so many rounds."""
        return (rounds * self._rates + self._offsets) // ONE

    def _round(self, number: int, shuffled: dict[int, tuple[int, np.ndarray]]) -> list[int]:
        """The images of one round; `shuffled` keeps {list: (which shuffle, its images)} from one to the next."""
        before = self._turns(number)
        copies = self._turns(number + 1) - before
        lists = np.repeat(np.arange(len(copies)), copies)
        turns = before[lists] + np.arange(len(lists)) - np.repeat(np.cumsum(copies) - copies, copies)
        order = np.random.default_rng([self.seed, CLASS_ORDER, number]).permutation(len(lists))
        images = []
        for which, turn in zip(lists[order].tolist(), turns[order].tolist(), strict=True):
            cycle, place = divmod(turn, len(self._lists[which]))
            if shuffled.get(which, (-1,))[0] != cycle:
                rng = np.random.default_rng([self.seed, CLASS_IMAGES, which, cycle])
                shuffled[which] = cycle, rng.permutation(self._lists[which])
            images.append(int(shuffled[which][1][place]))
        return images


def _rates(sizes: np.ndarray, images: int, max_repeats: float | None) -> np.ndarray:
    """float64 (K,): turns a round, min(1, max_repeats n_c S / images), S the sum of all rates: the largest solution.

    sizes: n_c. images: those with objects. With S turns a round and so many draws as images, the n_c images of a class
    come images / (S n_c) times for each turn that it has a round.
    """
    rates = np.ones(len(sizes))
    if max_repeats is None:
        return rates
    held = np.zeros(len(sizes), dtype=bool)
    while True:  # each pass holds at least one more class, or ends
        total = (~held).sum() / (1 - max_repeats * sizes[held].sum() / images) if held.any() else len(sizes)
        more = max_repeats * sizes * total / images < 1 - 1e-9
        if (more == held).all():
            return np.where(held, max_repeats * sizes * total / images, 1.0)
        held |= more
