"""Co-occurrence-aware sampling: repeats of images that reckon with all classes in them at once.

Letters: N images, K classes.
"""

import numpy as np

from ...data.records import Records
from ...data.statistics import takes_part
from ._class_counts import ImageClasses
from ._nearest_repeats import nearest_repeats
from ._repeats import RepeatedImages


class CoOccurrenceSampling(RepeatedImages):
    """Repeats images so that the expected boxes of all classes together come close to a target.

    Slot: image_sampler
    Imbalance: class_fg_fg
    Home: either
    Source: ours, 2026: least squares with bounds; the observation that a repeated image repeats its frequent classes,
        too, is that of Wu et al. 2020, arXiv 2007.09654 (distribution-balanced loss for multi-label data)
    Neutral: power=0, whose target are the counts as they are: the uniform stream itself
    Differs: nothing, as there is no published form

    Factors by an image's rarest class (repeat_factor_sampling) do not ask what else is in it. Here the repeats r_i of
    all images are found together. With n_ic the boxes of class c in image i, n_c their sum over the images, and
    T_c = n_c^(1 - power), scaled to sum up to all boxes:

        min over r of  sum_c (sum_i r_i n_ic / T_c - 1)^2  +  ridge mean_i (r_i - 1)^2
        with min_repeats <= r_i <= max_repeats

    Of all repeats that bring the classes equally near, these are nearest to 1; images without objects keep 1. Among
    the images of a rare class, those rise most that hold few frequent objects besides; images with frequent classes
    only are shown less often.

    Args:
        records: the data set.
        seed: of the stream.
        power: of the target, 0..1: 0 leaves the counts, 0.5 takes the root of their ratio (50 to 7.1), 1 wants all
            classes equal, which few sets can give: rare pictures then come max_repeats times, most others min_repeats.
        min_repeats: 0..1; above 0, no image disappears. 0.1 is once in ten epochs.
        max_repeats: 1 or more.
        ridge: 1e-6 or more, the price of repeating. At 0.1, repeats that differ from 1 by 1 (root mean square) cost as
            much as one class that is off its target by a third.

    Raises:
        ValueError: a setting out of range.

    Example:
        >>> from imbdet.data.datasets.shapes import shapes
        >>> sampler = CoOccurrenceSampling(shapes(num_images=200), seed=0)
        >>> [round(ratio, 1) for ratio in sampler.change.ratios]
        [51.8, 7.8]
    """

    def __init__(
        self,
        records: Records,
        seed: int = 0,
        power: float = 0.5,
        min_repeats: float = 0.1,
        max_repeats: float = 10.0,
        ridge: float = 0.1,
    ):
        if not 0 <= power <= 1:
            raise ValueError(f"power must be in 0 (counts as they are) .. 1 (all classes equal), got {power}")
        if not 0 <= min_repeats <= 1:
            raise ValueError(f"min_repeats must be in 0..1, got {min_repeats}")
        if max_repeats is None or not 1 <= max_repeats < np.inf:
            raise ValueError(f"max_repeats must be a number from 1 on, got {max_repeats}")
        if not 1e-6 <= ridge < np.inf:
            raise ValueError(f"ridge must be at least 1e-6, e.g. 0.1, got {ridge}")
        counts = records.class_counts().astype(float)
        present = takes_part(counts)
        target = counts[present] ** (1 - power)
        target *= counts.sum() / max(target.sum(), 1)
        held = ImageClasses.of(records).only(present)
        repeats = nearest_repeats(held, target, min_repeats, max_repeats, ridge)
        settings = f"power {power:g}, ridge {ridge:g}, min_repeats {min_repeats:g}"
        super().__init__(records, repeats, seed, max_repeats, settings)
