"""DIoU loss: the centers pull at each other, whether the boxes meet or not.

Letters: R regions.
"""

from torch import Tensor

from ._boxes import BoxLoss, center_distance, iou_and_union


class DIoULoss(BoxLoss):
    """1 - IoU, and the squared distance of the centers in units of the diagonal around both boxes.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Zheng, Wang, Liu, Li, Ye, Ren, 2020, arXiv 1911.08287, equation 7
    Neutral: none that gives L1 on deltas; where the centers agree it is IoULoss("linear")
    Differs: in pixels of the network input, as in the paper, detectron2 and torchvision, while the authors' Detectron
        code takes the RoI as the unit square, which bends distances unless the RoI is square; weight 12 on RoI heads is
        that of the authors' code, weight 2 on RetinaNet that of mmdetection's dense detectors with GIoU, as none is
        published

    With rho the distance of the centers, c the diagonal of the smallest box around both:

        L = 1 - IoU + rho^2 / c^2,    0..2

    A box inside the other is drawn to its center, where GIoU is content anywhere inside.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[20.0, 0, 30, 10]])
        >>> DIoULoss().between(a, b).item()
        1.399999976158142
    """

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        return 1 - iou_and_union(predicted, target)[0] + center_distance(predicted, target)
