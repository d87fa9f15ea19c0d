"""Instance-aware repeat factors: repeat-factor sampling that counts boxes as well as images.

Letters: N images, K classes.
"""

import numpy as np

from ...data.records import Records
from ._repeats import RepeatedImages, repeats_of_rarest, threshold_or_median


class InstanceAwareRepeatFactor(RepeatedImages):
    """Repeats images by how rare their rarest class is in images and in boxes together.

    Slot: image_sampler
    Imbalance: class_fg_fg
    Home: either
    Source: Yaman, Mahmud, Liu 2023, arXiv 2305.08069 (IRFS)
    Neutral: threshold=0, which is the uniform stream itself
    Differs: as repeat_factor_sampling: by default the median class's frequency is the threshold (1e-3 in the source),
        repeats are limited, and an epoch is rounded with one random number

    With f_c,img the share of the images that hold class c, f_c,box the share of all boxes that are of class c, crowd
    left out of both, and t the threshold:

        f_c = sqrt(f_c,img f_c,box),    r_c = max(1, sqrt(t / f_c)),    r_i = max over the classes c in image i of r_c

    Of two classes in equally many images, the one with fewer boxes in them is repeated more. Shares of boxes sum to 1
    over the classes, shares of images to more, so that f_c is smaller than in repeat-factor sampling and one threshold
    does not mean the same in both.

    Args:
        records: the data set.
        seed: of the stream.
        threshold: t in 0..1, the f_c from which on a class is not repeated; None takes the median of f_c over the
            classes that occur.
        max_repeats: limit of r_i, None for none (the source).

    Raises:
        ValueError: threshold outside 0..1, max_repeats below 1.

    Example:
        >>> from imbdet.data.datasets.shapes import shapes
        >>> sampler = InstanceAwareRepeatFactor(shapes(num_images=200), seed=0)
        >>> sampler.repeats.min().item(), round(sampler.repeats.max().item(), 1)
        (1.0, 2.7)
    """

    def __init__(
        self, records: Records, seed: int = 0, threshold: float | None = None, max_repeats: float | None = 10.0
    ):
        boxes = records.class_counts()
        frequency = np.sqrt(records.image_counts() / len(records) * boxes / max(boxes.sum(), 1))
        threshold, settings = threshold_or_median(threshold, frequency)
        super().__init__(records, repeats_of_rarest(records, frequency, threshold), seed, max_repeats, settings)
