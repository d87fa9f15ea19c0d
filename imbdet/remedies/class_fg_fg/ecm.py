"""Effective class margin loss: margins of K + 1 sigmoids from the numbers of positives and negatives of each class.

Letters: R regions, K classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...modeling.defaults import one_hot
from ...structures import Matched
from ._class_shift import non_negative, shift_of
from ._sigmoid_group import SigmoidGroup


class ECM(SigmoidGroup):
    """Sigmoid cross entropy whose margin between positives and negatives goes by how many there are of either.

    Slot: classification
    Imbalance: class_fg_fg
    Home: faster_rcnn
    Source: Cho, Kraehenbuehl, 2022, arXiv 2301.09724
    Neutral: ECM(counts, slope=1, power=0, reweight=False), which is cross entropy of K + 1 sigmoids
    Differs: the published number of background for each object, 6.33 of Mask R-CNN, is a parameter, as it is another in
        each detector (ecm/background_ratio logs it). Published with a cosine classifier, a long warm-up and clipping

    K + 1 sigmoids, the last for background, with n_c train images of class c, n_background = ratio times their sum,
    and N the sum of all, background too:

        p_c = sigmoid(slope z_c + power log(n_c / (N - n_c)))
        v_c = a log(1 + 1/a),  a = (N - n_c) / n_c;    L = sum over c of v_c BCE(p_c, t_c)
        score_c = sigmoid(z_c) (1 - sigmoid(z_background)), without slope and margin

    Args:
        image_counts: K numbers; a class without images has no margin and weighs 1. background_ratio: > 0; 6.3313 in the
            source. slope: > 0; 2 in the source. power: >= 0; 1/4 in the source. reweight: whether v_c is used.
        prior: see SigmoidLogits.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> [round(v, 3) for v in ECM([10, 10], background_ratio=1.0).margins.exp().tolist()]  # (10 / 30)^(1/4), 1
        [0.76, 0.76, 1.0]
    """

    margins: Tensor
    table: Tensor

    with_background = True

    def __init__(
        self,
        image_counts: Sequence[int],
        background_ratio: float = 6.3313,
        slope: float = 2.0,
        power: float = 0.25,
        reweight: bool = True,
        prior: float = 0.01,
    ):
        super().__init__()
        self.set_prior(prior)
        non_negative(power=power)
        if not (background_ratio > 0 and slope > 0):
            raise ValueError(f"background_ratio and slope must be positive, got {background_ratio} and {slope}")
        self.slope = slope

        def odds(n: np.ndarray) -> np.ndarray:
            return n / (n.sum() * (1 + background_ratio) - n)

        def table(log_factor, absent: float, of_background: float) -> Tensor:
            row = shift_of(image_counts, log_factor, lambda _: absent)
            return F.pad(row, (0, 1), value=of_background).float()

        margins = table(lambda n: power * np.log(odds(n)), 0.0, power * np.log(background_ratio))
        weights = table(lambda n: np.log1p(odds(n)) / odds(n), 1.0, np.log1p(background_ratio) / background_ratio)
        self.register_buffer("margins", margins, persistent=False)
        self.register_buffer("table", weights if reweight else torch.ones_like(weights), persistent=False)

    def forward(self, logits: Tensor, matched: Matched) -> tuple[Tensor, dict]:
        """Map logits (R, K + 1) -> (R,)."""
        target = one_hot(matched.labels, logits.shape[1], logits.dtype)
        moved = self.slope * logits + self.margins
        loss = F.binary_cross_entropy_with_logits(moved, target, reduction="none")
        ratio = matched.background.sum() / matched.foreground.sum().clamp(min=1)
        return (self.table * loss).sum(dim=1), {"ecm/background_ratio": ratio}
