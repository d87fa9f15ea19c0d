"""Balanced L1 loss: small errors get more of the gradient than smooth L1 gives them, large ones stay bounded.

Letters: R regions.
"""

import math

from torch import Tensor

from ...slots import Regression
from ...structures import Matched


class BalancedL1Loss(Regression):
    """A loss whose gradient rises as a logarithm up to `gamma` and stays there.

    Slot: regression
    Imbalance: spatial_regression
    Home: faster_rcnn
    Source: Pang, Chen, Shi, Feng, Ouyang, Lin, 2019, arXiv 1904.02701, section 3.3 (Libra R-CNN)
    Neutral: BalancedL1Loss(gamma=1, beta=0), all errors outliers, which is L1, the baseline, exactly
    Differs: for beta other than 1, which the paper does not have, the gradient stays continuous at beta; mmdetection's
        formula jumps there (from 1.70 to 1.5 at beta 0.11). Beta 1 on RoI heads, 0.11 on RetinaNet (the authors'
        config), loss weight 1

    With b = exp(gamma / alpha) - 1, for each of the four deltas:

        dL/dx = alpha ln(b |x| / beta + 1)  where |x| < beta,  else gamma
        L = alpha ((|x| + beta / b) ln(b |x| / beta + 1) - |x|),  else gamma |x| + beta (gamma / b - alpha)

    Args:
        alpha: > 0; the smaller, the more gradient for small errors. 0.5 in the paper.
        gamma: > 0; gradient of an outlier, 1.5 in the paper.
        beta: >= 0; from which error on a box is an outlier, in units of the weighted deltas.

    Example:
        >>> import torch
        >>> from imbdet.modeling.boxes import BoxCoder
        >>> from imbdet.structures import Matched
        >>> zero, box = torch.zeros(1, dtype=torch.long), torch.tensor([[0.0, 0, 10, 10]])
        >>> m = Matched(zero, zero, torch.ones(1), zero, zero, box, box, num_classes=1, num_images=1)
        >>> round(BalancedL1Loss()(torch.tensor([[0.5, 0, 0, 0]]), m, BoxCoder())[0].item(), 5)
        0.40057
    """

    def __init__(self, alpha: float = 0.5, gamma: float = 1.5, beta: float = 1.0):
        if alpha <= 0 or gamma <= 0:
            raise ValueError(f"alpha and gamma must be positive, got alpha {alpha}, gamma {gamma}")
        if beta < 0:
            raise ValueError(f"beta must not be negative, got {beta}")
        self.alpha = alpha
        self.gamma = gamma
        self.beta = beta
        self.b = math.expm1(gamma / alpha)

    def __call__(self, deltas: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """deltas (R, 4) -> (R,)."""
        error = (deltas - box_coder.encode(matched.boxes, matched.targets)).abs()
        return self.of_error(error).sum(dim=1), {}

    def of_error(self, error: Tensor) -> Tensor:
        """Map |x| (...) -> (...)."""
        if self.beta < 1e-5:  # no inliers; their branch would divide by almost zero
            return self.gamma * error
        inside = error.clamp(max=self.beta)  # the rest of the error has the slope gamma
        curve = (inside + self.beta / self.b) * (self.b / self.beta * inside).log1p() - inside
        return self.alpha * curve + self.gamma * (error - inside)
