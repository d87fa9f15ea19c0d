"""L1 loss: every error pulls equally hard, however small it is already.

Letters: R regions.
"""

from torch import Tensor

from ...slots import Regression
from ...structures import Matched


class L1Loss(Regression):
    """The absolute error of each delta.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Wu, Kirillov, Massa, Lo, Girshick, 2019, detectron2, where it is the default of both detectors
    Neutral: L1Loss() is the baseline, SmoothL1(beta=0), exactly
    Differs: nothing; loss weight 1

        L = sum over the four deltas of |x|

    For configs whose own loss is another: on the shipped baselines it changes nothing.

    Example:
        >>> import torch
        >>> from imbdet.modeling.boxes import BoxCoder
        >>> from imbdet.structures import Matched
        >>> zero, box = torch.zeros(1, dtype=torch.long), torch.tensor([[0.0, 0, 10, 10]])
        >>> m = Matched(zero, zero, torch.ones(1), zero, zero, box, box, num_classes=1, num_images=1)
        >>> L1Loss()(torch.tensor([[3.0, 0, 0, -1]]), m, BoxCoder())[0].item()
        4.0
    """

    def __call__(self, deltas: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """deltas (R, 4) -> (R,)."""
        return (deltas - box_coder.encode(matched.boxes, matched.targets)).abs().sum(dim=1), {}
