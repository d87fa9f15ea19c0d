"""NorCal: after training, scores of classes that many images hold are divided by a power of that number.

Letters: K classes.
"""

from collections.abc import Sequence

import numpy as np

from ._class_shift import ClassShift, non_negative, shift_of


class NorCal(ClassShift):
    """Divides each class's score by a power of its images, and normalizes anew with the background's as it is.

    Slot: calibration
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Pan et al., 2021, arXiv 2107.02170
    Neutral: NorCal(counts, gamma=0)
    Differs: under sigmoids, which have no background to normalize with, log odds are shifted by as much; the source
        finds that without the normalization there is little gain. The counts of classes without images are taken to
        be those of the most frequent class

    With the images m_c that hold class c:

        s_c <- s_c m_c^-gamma / (sum_k s_k m_k^-gamma + s_background)

    All scores fall, as background is not divided: a threshold on scores must fall with them
    (`model.score_threshold=0.0001`).
    gamma is chosen on training images or on a held part (`imbdet evaluate --tune-on train`), never on what is judged.

    Args:
        image_counts: K numbers, the train images that hold each class. gamma: >= 0.

    Example:
        >>> import torch
        >>> scores = NorCal([100, 1], gamma=0.5)(torch.tensor([0.5, 0.3]), torch.tensor(0.2))  # 0.05, 0.3, 0.2
        >>> [round(score, 4) for score in scores.tolist()]
        [0.0909, 0.5455]
    """

    tunable = {"gamma": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)}

    def __init__(self, image_counts: Sequence[int], gamma: float = 0.6):
        non_negative(gamma=gamma)
        super().__init__(shift_of(image_counts, lambda m: -gamma * np.log(m), np.min))
