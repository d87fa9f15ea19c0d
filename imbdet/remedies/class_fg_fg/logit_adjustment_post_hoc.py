"""Post-hoc logit adjustment: after training, the share of each class is taken out of its logit.

Letters: K classes.
"""

from collections.abc import Sequence

import numpy as np

from ._class_shift import ClassShift, non_negative, shift_of


class LogitAdjustmentPostHoc(ClassShift):
    """Subtracts the logarithm of each class's share among the objects, relative to that of an average class.

    Slot: calibration
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Menon et al., 2021, arXiv 2007.07314
    Neutral: LogitAdjustmentPostHoc(counts, tau=0)
    Differs: written for image classification. Objects are adjusted among themselves: background keeps its share, so the
        priors are relative to 1/K and a class of average frequency keeps its logit. Under sigmoids log odds are shifted

    With the train boxes n_c of class c, N their sum and K the classes that have any:

        z_c <- z_c - tau log(K n_c / N)

    tau is chosen on training images or on a held part (`imbdet evaluate --tune-on train`), never on what is judged.

    Args:
        counts: K numbers, the train boxes of each class; one without boxes keeps its logit. tau: >= 0, 1 in the paper.

    Example:
        >>> import torch
        >>> scores = LogitAdjustmentPostHoc([3, 1])(torch.tensor([0.6, 0.2]), torch.tensor(0.2))
        >>> [round(score, 4) for score in scores.tolist()]  # 0.4, 0.4, 0.2
        [0.4, 0.4]
    """

    tunable = {"tau": (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)}

    def __init__(self, counts: Sequence[int], tau: float = 1.0):
        non_negative(tau=tau)
        super().__init__(shift_of(counts, lambda n: -tau * np.log(n / n.sum() * len(n)), lambda _: 0.0))
