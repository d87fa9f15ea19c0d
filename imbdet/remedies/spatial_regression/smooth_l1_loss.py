"""Smooth L1 loss: L1 for large errors, a parabola for small ones."""

from ...modeling.defaults import SmoothL1


class SmoothL1Loss(SmoothL1):
    """An absolute error whose gradient fades below `beta`, so that boxes nearly right come to rest.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Girshick, 2015, arXiv 1504.08083, equation 3 (beta 1); beta as a setting: Detectron
    Neutral: SmoothL1Loss(beta=0), which is L1, the baseline, exactly
    Differs: below beta = 1e-5 it is L1, as in fvcore, since the parabola's slope divides by almost 0; it is not Huber's
        loss, whose slope is beta for large errors. Beta 1 on RoI heads (Fast R-CNN), 0.1 on RetinaNet (detectron2's
        default), loss weight 1

        L = sum over the four deltas of x^2 / (2 beta) where |x| < beta, else |x| - beta / 2

    Args:
        beta: >= 0, where the parabola ends, in units of the weighted deltas.

    Example:
        >>> import torch
        >>> from imbdet.modeling.boxes import BoxCoder
        >>> from imbdet.structures import Matched
        >>> zero, box = torch.zeros(1, dtype=torch.long), torch.tensor([[0.0, 0, 10, 10]])
        >>> m = Matched(zero, zero, torch.ones(1), zero, zero, box, box, num_classes=1, num_images=1)
        >>> SmoothL1Loss()(torch.tensor([[3.0, 0, 0, 0.5]]), m, BoxCoder())[0].item()
        2.625
    """

    def __init__(self, beta: float = 1.0):
        super().__init__(beta)
