"""FRACAL: after training, classes that are frequent and lie everywhere lose score to those that are rare or local.

Letters: K classes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..class_fg_fg._class_shift import ClassShift, non_negative, shift_of


class FRACAL(ClassShift):
    """Divides scores by the images of a class and by how evenly its objects are spread over the picture.

    Slot: calibration
    Imbalance: spatial_location
    Home: faster_rcnn
    Source: Alexandridis et al., 2025, arXiv 2410.11774
    Neutral: FRACAL(shares, dimensions, tau=0, power=0); under sigmoids only the order within a class is the same
    Differs: tau multiplies the shift by frequency, 1 as published. A class without boxes takes the factor of the class
        that loses most. The source also suppresses at an IoU of 0.3, from a base with a cosine classifier and repeated
        images, none of which is part of it

    With pi_c the share of the train images that hold class c, K the classes that have any, and D_c in 1..2 the fractal
    dimension of its boxes' centers (`imbdet.data.places`; 2 is spread evenly):

        w_c = -tau log10(K pi_c)
        softmax: s_c <- s_c e^w_c D_c^-power, normalized with the background's score as it is
        sigmoid: s_c <- s_c sigmoid(z_c + w_c + f_c),  f_c = -log10(K D_c^power / sum_k D_k^power)

    The decimal logarithm, as in the authors' code, makes tau 0.43 of that of logit adjustment.

    Args:
        image_shares: K numbers in 0..1. dimensions: K numbers in 1..2. tau: >= 0. power: lambda, >= 0, 2 in the paper.

    Example:
        >>> import torch
        >>> scores = FRACAL([0.5, 0.5], [2.0, 1.0], tau=0)(torch.tensor([0.4, 0.1]), torch.tensor(0.5))
        >>> [round(score, 4) for score in scores.tolist()]  # 0.1, 0.1, 0.5
        [0.1429, 0.1429]
    """

    alone: Tensor

    tunable = {"power": (0.0, 1.0, 2.0, 3.0)}

    def __init__(
        self, image_shares: Sequence[float], dimensions: Sequence[float], tau: float = 1.0, power: float = 2.0
    ):
        non_negative(tau=tau, power=power)
        present = [share > 0 for share in image_shares]
        spread = np.array([d for d, there in zip(dimensions, present, strict=True) if there], dtype=float) ** power

        def frequency(shares: np.ndarray) -> np.ndarray:
            return -tau * np.log10(len(shares) * shares)

        super().__init__(shift_of(image_shares, lambda shares: frequency(shares) - np.log(spread), np.min))
        alone = shift_of(
            image_shares, lambda shares: frequency(shares) - np.log10(len(spread) * spread / spread.sum()), np.min
        )
        self.register_buffer("alone", alone.float(), persistent=False)  # of classes that are scored by themselves

    def forward(self, scores: Tensor, background: Tensor | None) -> Tensor:
        """Map scores (..., K), background (...) or None -> (..., K)."""
        if background is None:
            return scores * (torch.logit(scores) + self.alone).sigmoid()
        return super().forward(scores, background)
