"""cRT: what a finished detector sees stays as it is, and its classifier learns anew, from all classes equally often."""

from ...data.records import Records
from .class_aware_sampling import ClassAwareSampling


class CRT(ClassAwareSampling):
    """Class-aware sampling for a classifier that starts anew on a frozen detector (classifier re-training).

    Slot: image_sampler
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Kang et al., 2020, arXiv 1910.09217, section 4.1 (cRT); in detection as in the code of Tan et al., 2021,
        arXiv 2012.08548
    Neutral: none; the classifier begins with its initial values. On balanced classes it is more training of the
        classifier alone, with the same images
    Differs: Kang et al. draw images of one class each; an image here brings its other classes along, and background
        does not become rarer. As many images, 75,000 x 16 for LVIS in detection, are the user's `train.max_iter`

    With f the frozen detector and W the classifier:

        stage 1   a finished run gives f;    stage 2   W from its initial values, min over W of L(W f(image))

    The config sets `train.freeze` to all but the classifier and `train.reset` to the classifier; the weights are
    `train.init_checkpoint`. Batch norms of what is frozen stay in eval mode. RPN and box losses are still reported, and
    teach nothing. The honest control is as many iterations more of the whole detector.

    Args:
        records, seed, max_repeats: of ClassAwareSampling; no limit, as in the source.

    Example:
        >>> from imbdet.data.datasets.shapes import shapes
        >>> sampler = CRT(shapes(num_images=200), seed=0)
        >>> sampler.change.ratios[0] > sampler.change.ratios[1]
        True
    """

    def __init__(self, records: Records, seed: int = 0, max_repeats: float | None = None):
        super().__init__(records, seed, max_repeats)
