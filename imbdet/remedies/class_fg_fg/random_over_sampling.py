"""Random over-sampling of images: those with a rare class are repeated until the labels are equally frequent."""

from collections.abc import Callable, Mapping

from ._resampling import Resampling


class RandomOverSampling(Resampling):
    """Repeats images, drawn by imbalanced-learn, once before training.

    Slot: balance
    Imbalance: class_fg_fg
    Home: either
    Source: imbalanced-learn's RandomOverSampler (Lemaitre, Nogueira, Aridas 2017, JMLR 18(17), arXiv 1609.06570)
    Neutral: a data set whose labels are equally frequent, or sampling_strategy={}: every image once, in order
    Differs: an image has many labels, so it goes by its rarest class (the one in fewest images); images without objects
        stay as they are; no image comes more than max_repeats times. `shrinkage` is not there: it would blur the index
        of an image

    Each label gets as many images as the most frequent label has (`sampling_strategy="auto"`), the images that are
    there and repeats of them drawn with replacement.

    Args:
        sampling_strategy: which labels are drawn up: "auto" or "not majority" (all but the most frequent), "minority",
            "not minority", "all"; or {class name: images it shall have}.
        random_state: seed of the draw, a whole number.
        max_repeats: the most often that one image comes; None sets no limit (imbalanced-learn).

    Raises:
        ImportError: without the extra `sampling`.
        ValueError: random_state or max_repeats out of range; from the call, a sampling_strategy that does not fit.

    Example:
        >>> from imbdet.data.datasets.shapes import shapes
        >>> records = shapes(num_images=200, objects_per_image=(1, 1))
        >>> balanced = RandomOverSampling(max_repeats=None)(records)
        >>> sorted(set(balanced.class_counts().tolist())) == [records.class_counts().max()]
        True
    """

    def __init__(
        self,
        sampling_strategy: str | float | Mapping[str, int] | Callable = "auto",
        random_state: int = 0,
        max_repeats: int | None = 10,
    ):
        super().__init__(sampling_strategy, random_state, max_repeats)

    def _sampler(self, imblearn, strategy):
        return imblearn.over_sampling.RandomOverSampler(sampling_strategy=strategy, random_state=self.random_state)
