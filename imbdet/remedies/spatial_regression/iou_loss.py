"""IoU loss: the overlap of the boxes, not four errors that know nothing of each other.

Letters: R regions.
"""

from torch import Tensor

from ._boxes import BoxLoss, iou_and_union


def log(iou: Tensor) -> Tensor:
    """Return -ln IoU; from IoU 1e-6 down it is flat, so boxes that do not meet pull at nothing."""
    return -iou.clamp(min=1e-6).log()


def linear(iou: Tensor) -> Tensor:
    """Return 1 - IoU."""
    return 1 - iou


def square(iou: Tensor) -> Tensor:
    """Return 1 - IoU^2: flatter at low IoU, steeper at high."""
    return 1 - iou * iou


MODES = {"log": log, "linear": linear, "square": square}


class IoULoss(BoxLoss):
    """A loss of the IoU alone; it counts a small box as much as a large one.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Yu, Jiang, Wang, Cao, Huang, 2016, arXiv 1608.01471, algorithm 1 (log); linear and square as in mmdetection
    Neutral: none that gives L1 on deltas; at mode="linear" it is what GIoU, DIoU and their kin add penalties to
    Differs: the boxes are decoded from the detector's deltas, where the paper predicts the distances to the four sides;
        weight 10 on RoI heads is mmdetection's, weight 2 on RetinaNet is that of mmdetection's dense detectors (ATSS
        with GIoU), as no RetinaNet with this loss is published

    With I and U the areas of the intersection and of the union:

        log: -ln max(I / U, 1e-6)        linear: 1 - I / U        square: 1 - (I / U)^2

    Where the boxes do not meet there is no gradient, whatever the mode; GIoU and DIoU are for that.

    Args:
        mode: "log", "linear" or "square".

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10]])
        >>> {mode: round(IoULoss(mode).between(a, b).item(), 4) for mode in MODES}
        {'log': 1.0986, 'linear': 0.6667, 'square': 0.8889}
    """

    def __init__(self, mode: str = "log"):
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.of_iou = MODES[mode]

    def between(self, predicted: Tensor, target: Tensor) -> Tensor:
        return self.of_iou(iou_and_union(predicted, target)[0])
