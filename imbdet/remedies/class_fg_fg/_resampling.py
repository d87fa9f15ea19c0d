"""What random over-sampling and random under-sampling share: one label for an image, and imbalanced-learn's draw.

Notable: imbalanced-learn balances rows with one label each, and an image has many. The rule is: an image is labeled by
its rarest class, the one in fewest images. Then more of a rare label means more of that class, but every image brings
its other objects along; with many classes an image the boxes may come out less equal than before, which is warned of.
Letters: N images, K classes.
"""

import difflib
import warnings
from collections.abc import Callable, Mapping

import numpy as np

from ...data.records import Records
from ...slots import Balance
from ._class_counts import Change, ImageClasses

NONE = -1  # the label of an image without objects


class Resampling(Balance):
    """Base of both: labels, draw, limit, report. A remedy adds `_sampler`.

    Args:
        sampling_strategy: imbalanced-learn's; in a mapping, class names stand for the labels.
        random_state: imbalanced-learn's, a number: every process of a run must draw the same images.
        max_repeats: no image comes more often than this; None sets no limit.

    Raises:
        ImportError: imbalanced-learn is not installed.
        ValueError: random_state is no whole number, max_repeats below 1.
    """

    def __init__(
        self,
        sampling_strategy: str | float | Mapping[str, int] | Callable = "auto",
        random_state: int = 0,
        max_repeats: int | None = None,
    ):
        if isinstance(random_state, bool) or not isinstance(random_state, (int, np.integer)):
            raise ValueError(
                f"random_state must be a whole number, got {random_state!r}: every process must draw the same images"
            )
        if max_repeats is not None and not max_repeats >= 1:
            raise ValueError(f"max_repeats must be at least 1 or None, got {max_repeats}")
        self.sampling_strategy = sampling_strategy
        self.random_state = random_state
        self.max_repeats = max_repeats
        _imported()

    def _sampler(self, imblearn, strategy):
        """imbalanced-learn's sampler; imblearn: a namespace with its `over_sampling` and `under_sampling`."""
        raise NotImplementedError

    def __call__(self, records: Records) -> Records:
        """The drawn images, in the order of the data set; those without objects as they are."""
        labels = rarest_class(records)
        filled = np.flatnonzero(labels != NONE)
        if len(np.unique(labels[filled])) < 2:
            warnings.warn(
                f"{type(self).__name__}: {records.name} has less than two classes to balance; all images are kept",
                stacklevel=2,
            )
            return records
        strategy = self._by_number(records, labels)
        sampler = self._sampler(_imported(), strategy)
        try:
            sampler.fit_resample(filled[:, None], labels[filled])
        except ValueError as error:
            raise ValueError(
                f"{type(self).__name__}: imbalanced-learn refuses sampling_strategy={self.sampling_strategy!r}: {error}"
                f". Images by their rarest class: {_listed(records, labels)}"
            ) from error
        counts = np.bincount(filled[sampler.sample_indices_], minlength=len(records))
        counts[labels == NONE] = 1
        if self.max_repeats is not None:
            counts = np.minimum(counts, int(self.max_repeats))
        balanced = records.subset(np.repeat(np.arange(len(records)), counts))
        _change(records, balanced).warn_if_worse(type(self).__name__)
        return balanced

    def report(self, before: Records, after: Records) -> str:
        """Return lines for the log: images by label and boxes by class, in the records given and returned."""
        most = np.unique(after.image_ids, return_counts=True)[1].max(initial=0)
        labels = rarest_class(before)
        of_id = dict(zip(before.image_ids.tolist(), labels.tolist(), strict=True))
        now = np.array([of_id[i] for i in after.image_ids.tolist()])
        limit = "" if self.max_repeats is None else f", max_repeats {self.max_repeats}"
        return (
            f"{type(self).__name__}(sampling_strategy {self.sampling_strategy}{limit}): {len(before)} -> {len(after)}"
            f" images, none more than {most} times\n  images by their rarest class before: {_listed(before, labels)}\n"
            f"  and after: {_listed(before, now)}\n{_change(before, after).describe()}"
        )

    def _by_number(self, records: Records, labels: np.ndarray):
        """`sampling_strategy` with labels for class names."""
        if not isinstance(self.sampling_strategy, Mapping):
            return self.sampling_strategy
        numbers = {name: k for k, name in enumerate(records.class_names)}
        for name in self.sampling_strategy:
            if name not in numbers:
                near = difflib.get_close_matches(str(name), numbers, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"the classes are {', '.join(numbers)}"
                raise ValueError(f"sampling_strategy: there is no class {name!r}; {hint}")
            if numbers[name] not in labels:
                raise ValueError(
                    f"sampling_strategy: {name!r} is the rarest class of no image. Images by their rarest class:"
                    f" {_listed(records, labels)}"
                )
        return {numbers[name]: int(count) for name, count in self.sampling_strategy.items()}


def rarest_class(records: Records) -> np.ndarray:
    """Return int64 (N,): of each image's classes the one that fewest images hold, -1 without objects (crowd left out).

    Of classes in equally many images, the one with fewer boxes; then the first.
    """
    held = ImageClasses.of(records)
    order = np.lexsort((records.class_counts(), records.image_counts()))
    rank = np.argsort(order, kind="stable")
    best = np.full(len(records), records.num_classes)
    np.minimum.at(best, held.images, rank[held.labels])
    return np.append(order, NONE)[best]


def _imported():
    try:
        import imblearn.over_sampling
        import imblearn.under_sampling
    except ImportError as error:
        raise ImportError(
            "random over- and under-sampling draw with imbalanced-learn, which comes with the extra:"
            " pip install 'imbdet[sampling]'"
        ) from error
    return imblearn


def _change(before: Records, after: Records) -> Change:
    scale = len(before) / max(len(after), 1)
    return Change(before.class_names, before.class_counts() * 1.0, after.class_counts() * scale, len(before))


def _listed(records: Records, labels: np.ndarray) -> str:
    found = [(name, int((labels == k).sum())) for k, name in enumerate(records.class_names)]
    found.append(("without objects", int((labels == NONE).sum())))
    return ", ".join(f"{name} {count}" for name, count in found if count)
