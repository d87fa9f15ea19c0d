"""Repeat-factor sampling: images with rare classes come more often.

Letters: N images, K classes.
"""

from ...data.records import Records
from ._repeats import RepeatedImages, repeats_of_rarest, threshold_or_median


class RepeatFactorSampling(RepeatedImages):
    """Repeats images by the square root of how rare their rarest class is.

    Slot: image_sampler
    Imbalance: class_fg_fg
    Home: either
    Source: Gupta, Dollar, Girshick 2019 (LVIS), arXiv 1908.03195, repeat factor sampling
    Neutral: threshold=0, which is the uniform stream itself
    Differs: the threshold is by default the share of the median class, as the published 1e-3 leaves small sets alone;
        no image comes more than max_repeats times; all images of an epoch are rounded with one random number, not
        each with its own (the mean of each is the same, the epoch's length nearly constant)

    With f_c the share of the N images that hold class c, crowd left out, and t the threshold:

        r_c = max(1, sqrt(t / f_c)),    r_i = max over the classes c in image i of r_c

    Image i comes r_i times an epoch on average; one without objects comes once.

    The published t = 1e-3 belongs to LVIS, where 1e-3 of the 100,170 train images is 100 images, LVIS's own limit of
    the frequent classes. In 2000 images it would touch only classes that are in one image, in 1000 images and fewer
    none at all. The median does something on any set that is not balanced: the rarer half of the classes is repeated.

    Args:
        records: the data set.
        seed: of the stream.
        threshold: t in 0..1, the share of images from which on a class is not repeated; None takes the median of f_c
            over the classes that occur. 1e-3 in the source.
        max_repeats: limit of r_i, None for none (the source). Ten times the same picture is a lot to memorize.

    Raises:
        ValueError: threshold outside 0..1, max_repeats below 1.

    Example:
        >>> from imbdet.data.datasets.shapes import shapes
        >>> sampler = RepeatFactorSampling(shapes(num_images=200), seed=0)
        >>> sampler.repeats.min().item(), round(sampler.repeats.max().item(), 1)
        (1.0, 2.7)
    """

    def __init__(
        self, records: Records, seed: int = 0, threshold: float | None = None, max_repeats: float | None = 10.0
    ):
        frequency = records.image_counts() / len(records)
        threshold, settings = threshold_or_median(threshold, frequency)
        super().__init__(records, repeats_of_rarest(records, frequency, threshold), seed, max_repeats, settings)
