"""CIoU loss: overlap, distance of the centers, and the ratio of the sides.

Letters: R regions.
"""

from torch import Tensor

from ._boxes import BoxLoss, aspect_difference, aspect_weight, center_distance, iou_and_union


class CIoULoss(BoxLoss):
    """DIoU, and the difference of the aspect ratios, which counts the more the better the boxes overlap.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Zheng, Wang, Liu, Li, Ye, Ren, 2020, arXiv 1911.08287, equations 8 to 11; the gate: Zheng et al., 2020,
        arXiv 2005.03572
    Neutral: none that gives L1 on deltas; gate above 1, or equal aspect ratios, is DIoULoss
    Differs: alpha has no gradient and no gate by default, as in the paper, detectron2 and torchvision (mmdetection 3
        sets alpha to 0 up to IoU 0.5, the later paper's rule: gate=0.5; early mmdetection 2 let the gradient through
        alpha); the gradient is the true one, where the authors set w^2 + h^2 to 1 in theirs against explosion at small
        boxes, which the deltas' logarithm prevents here; in pixels, not in the RoI's coordinates, as DIoU; weight 12 on
        RoI heads is the authors' and mmdetection's, weight 2 on RetinaNet that of dense detectors with GIoU

        L = 1 - IoU + rho^2 / c^2 + alpha v
        v = 4 / pi^2 (atan(w_t / h_t) - atan(w / h))^2,    alpha = v / (1 - IoU + v)

    Args:
        gate: IoU below which the aspect ratio does not count, 0..1.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 20, 10]]), torch.tensor([[5.0, -5, 15, 15]])
        >>> round(CIoULoss().between(a, b).item(), 4), round(CIoULoss(gate=0.5).between(a, b).item(), 4)
        (0.7004, 0.6667)
    """

    def __init__(self, gate: float = 0.0):
        if gate < 0:
            raise ValueError(f"gate is an IoU in 0..1, got {gate}")
        self.gate = gate

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        iou, _ = iou_and_union(predicted, target)
        v = aspect_difference(predicted, target)
        return 1 - iou + center_distance(predicted, target) + aspect_weight(v, iou, self.gate) * v
