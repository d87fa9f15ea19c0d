"""GIoU loss: boxes that do not meet still pull at each other.

Letters: R regions.
"""

from torch import Tensor

from ._boxes import BoxLoss, empty_share, iou_and_union


class GIoULoss(BoxLoss):
    """1 - IoU, and the share of the smallest box around both that neither covers.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Rezatofighi, Tsoi, Gwak, Sadeghian, Reid, Savarese, 2019, arXiv 1902.09630, algorithm 2
    Neutral: none that gives L1 on deltas; where one box holds the other it is IoULoss("linear")
    Differs: nothing in the formula, which is the same in pixels as in the RoI's own coordinates of the authors' code;
        weight 10 on RoI heads is the authors' and mmdetection's (detectron2 leaves it at 1, too little for one value of
        0..2 in place of four errors in units of a tenth), weight 2 on RetinaNet is that of mmdetection's ATSS

    With U the area of the union, C that of the smallest box around both:

        L = 1 - IoU + (C - U) / C,    0..2

    Far apart, the gradient makes the predicted box grow until the two meet.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[20.0, 0, 30, 10]])
        >>> round(GIoULoss().between(a, b).item(), 4)
        1.3333
    """

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        iou, union = iou_and_union(predicted, target)
        return 1 - iou + empty_share(predicted, target, union)
