"""Random under-sampling of images: of those with frequent classes only, most are left out."""

from collections.abc import Callable, Mapping

from ._resampling import Resampling


class RandomUnderSampling(Resampling):
    """Leaves images out, drawn by imbalanced-learn, once before training.

    Slot: balance
    Imbalance: class_fg_fg
    Home: either
    Source: imbalanced-learn's RandomUnderSampler (Lemaitre, Nogueira, Aridas 2017, JMLR 18(17), arXiv 1609.06570)
    Neutral: a data set whose labels are equally frequent, or sampling_strategy={}: every image once, in order
    Differs: an image has many labels, so it goes by its rarest class (the one in fewest images); images without objects
        stay as they are. `replacement` is not there: it would repeat images while others are left out

    Each label keeps as many images as the least frequent label has (`sampling_strategy="auto"`), drawn without
    replacement. An image of a rare class and of a frequent one goes by the rare one, so that the images of the rarest
    class are all kept.

    Args:
        sampling_strategy: which labels are cut: "auto" or "not minority" (all but the least frequent), "majority",
            "not majority", "all"; or {class name: images it shall keep}.
        random_state: seed of the draw, a whole number.

    Raises:
        ImportError: without the extra `sampling`.
        ValueError: random_state is no whole number; from the call, a sampling_strategy that does not fit.

    Example:
        >>> from imbdet.data.datasets.shapes import shapes
        >>> records = shapes(num_images=200, objects_per_image=(1, 1))
        >>> balanced = RandomUnderSampling()(records)
        >>> sorted(set(balanced.class_counts().tolist())) == [records.class_counts().min()]
        True
    """

    def __init__(self, sampling_strategy: str | float | Mapping[str, int] | Callable = "auto", random_state: int = 0):
        super().__init__(sampling_strategy, random_state)

    def _sampler(self, imblearn, strategy):
        return imblearn.under_sampling.RandomUnderSampler(sampling_strategy=strategy, random_state=self.random_state)
