"""EIoU loss (Efficient IoU): overlap, distance of the centers, and each side for itself.

Letters: R regions.
"""

from torch import Tensor

from ._boxes import TINY, BoxLoss, center_distance, hull, iou_and_union, sides


class EIoULoss(BoxLoss):
    """DIoU, and the squared differences of the widths and of the heights; poor boxes may count less (focal).

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Zhang, Ren, Zhang, Jia, Wang, Tan, 2021, arXiv 2101.08158 (L_EIoU and L_Focal-EIoU)
    Neutral: none that gives L1 on deltas; gamma=0 is EIoU without focus; where the sides agree it is DIoULoss
    Differs: this is Efficient IoU, while mmdetection's EIoULoss is another loss, Extended IoU; the focal weight
        IoU^gamma has no gradient and is not normalized over the batch; no loss weight is published for these
        detectors, so 10 on RoI heads (as IoU and GIoU) and 2 on RetinaNet (as mmdetection's dense ones with GIoU)

    With (w_c, h_c) the sides of the smallest box around both:

        L = IoU^gamma (1 - IoU + rho^2 / c^2 + (w - w_t)^2 / w_c^2 + (h - h_t)^2 / h_c^2)

    Unlike CIoU it moves the sides even where their ratio is right. With gamma above 0, boxes that do not meet weigh
    nothing at all.

    Args:
        gamma: >= 0; 0 is EIoU, 0.5 the paper's Focal-EIoU.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 20, 10]])
        >>> EIoULoss().between(a, b).item(), round(EIoULoss(gamma=0.5).between(a, b).item(), 4)
        (0.800000011920929, 0.5657)
    """

    def __init__(self, gamma: float = 0.0):
        if gamma < 0:
            raise ValueError(f"gamma must not be negative, got {gamma}")
        self.gamma = gamma

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        iou, _ = iou_and_union(predicted, target)
        around = hull(predicted, target).square().clamp(min=TINY)
        of_sides = ((sides(predicted) - sides(target)).square() / around).sum(dim=-1)
        loss = 1 - iou + center_distance(predicted, target) + of_sides
        return iou.detach() ** self.gamma * loss if self.gamma else loss
