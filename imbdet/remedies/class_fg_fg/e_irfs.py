"""E-IRFS: instance-aware repeat factors with an exponential in place of the threshold.

Letters: N images, K classes.
"""

import numpy as np

from ...data.records import Records
from ...data.statistics import takes_part
from ._class_counts import ImageClasses
from ._repeats import RepeatedImages


class EIRFS(RepeatedImages):
    """Repeats images by an exponential of how rare their rarest class is in images and boxes together.

    Slot: image_sampler
    Imbalance: class_fg_fg
    Home: either
    Source: Ahmed et al., 2025, arXiv 2503.21893 (E-IRFS), and the authors' code
    Neutral: alpha=0, which is the uniform stream itself
    Differs: the source draws images at random with replacement, by these weights; here an image comes as often as its
        weight says, rounded, so that every image comes at least once an epoch. Repeats are limited

    With f_c,img the share of class c among all (image, class in it) pairs, f_c,box its share of the boxes, crowd left
    out, and t the threshold:

        f_c = sqrt(f_c,img f_c,box),    r_i = max over the classes c in image i of exp(alpha sqrt(t / f_c))

    The published defaults do next to nothing unless classes are far rarer than those that it was published with: at
    alpha 2 and t 1e-4 a class with a share of 1 % is repeated 1.22 times, one of 25 % 1.04 times. With `threshold`
    0.05 a class of 1 % is held back by the limit alone.

    Args:
        records: the data set.
        seed: of the stream.
        alpha: 0 or more. threshold: t, 0 or more.
        max_repeats: limit of r_i, None for none (the source).

    Raises:
        ValueError: a negative alpha or threshold, max_repeats below 1.

    Example:
        >>> from imbdet.data.datasets.shapes import shapes
        >>> repeats = EIRFS(shapes(num_images=200), seed=0).repeats
        >>> bool(repeats.max() < 1.4)
        True
    """

    def __init__(
        self,
        records: Records,
        seed: int = 0,
        alpha: float = 2.0,
        threshold: float = 1e-4,
        max_repeats: float | None = 10.0,
    ):
        if alpha < 0 or threshold < 0:
            raise ValueError(f"alpha and threshold must not be negative, got alpha {alpha}, threshold {threshold}")
        images, boxes = records.image_counts(), records.class_counts()
        frequency = np.sqrt(images / max(images.sum(), 1) * boxes / max(boxes.sum(), 1))
        present, factor = takes_part(frequency), np.ones(len(frequency))
        exponent = alpha * np.sqrt(threshold / frequency[present])
        factor[present] = np.exp(np.minimum(exponent, 50))  # finite; max_repeats holds back far less
        held, repeats = ImageClasses.of(records), np.ones(len(records))
        np.maximum.at(repeats, held.images, factor[held.labels])
        super().__init__(records, repeats, seed, max_repeats, f"alpha {alpha:g}, threshold {threshold:g}")
