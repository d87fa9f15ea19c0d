"""NWD loss: the error of a box in pixels against the size of the data's objects, not against its own.

Letters: R regions.
"""

from torch import Tensor

from ..spatial_regression._boxes import BoxLoss
from ._gaussians import check_size, normalized_wasserstein


class NWDLoss(BoxLoss):
    """1 - the normalized Wasserstein distance of the boxes as Gaussians.

    Slot: regression
    Imbalance: scale
    Home: faster_rcnn
    Source: Wang, Xu, Yang, Yu, 2021, arXiv 2110.13389, equations 6 to 8; loss weight of the authors' code
    Neutral: none; as size grows, it becomes W / size, a distance in pixels that ignores how large the object is
    Differs: below a thousandth of a pixel W is a parabola, so that equal boxes have a gradient (of 0); `size` comes
        from the data where the authors type AI-TOD's 12.8; weight 10 on RoI heads (the authors' in the RPN), 2 on
        RetinaNet, as other losses of one value a box have here

    With dx, dy the offsets of the centers and dw, dh of the sides, in pixels:

        W = sqrt(dx^2 + dy^2 + (dw^2 + dh^2) / 4),    L = 1 - exp(-W / size),    0..1

    IoU falls to 0 when a box of 6 pixels is 6 pixels off, and hardly moves when one of 200 is; W is the same for both.
    So large objects, whose errors in pixels are large, lose the gradient that small ones gain: not scale invariant.

    Args:
        size: the constant C, pixels: the mean sqrt(area) of the objects at the network's input.

    Raises:
        ValueError: size not above 0.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 6, 6]]), torch.tensor([[6.0, 0, 12, 6]])
        >>> round(NWDLoss(size=12.0).between(a, b).item(), 4)
        0.3934
    """

    def __init__(self, size: float = 12.8):
        self.size = check_size(size)

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - normalized_wasserstein(predicted, target, self.size)
