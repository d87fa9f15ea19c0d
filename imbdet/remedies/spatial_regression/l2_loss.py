"""L2 loss: the squared error, of which outliers have nearly all.

Letters: R regions.
"""

from torch import Tensor

from ...slots import Regression
from ...structures import Matched


class L2Loss(Regression):
    """Half the squared error of each delta: the gradient is the error, so the worst boxes rule.

    Slot: regression
    Imbalance: spatial_regression
    Home: either
    Source: Girshick, Donahue, Darrell, Malik, 2014, arXiv 1311.2524, appendix C (R-CNN's box regression)
    Neutral: none that gives L1; while all errors are below 1 it is smooth L1 of beta 1
    Differs: half the square, so that it continues smooth L1's parabola, and no ridge penalty; no loss weight is
        published for these detectors, so 1 on RoI heads (the parabola of smooth L1 at beta 1) and 10 on RetinaNet (that
        at beta 0.1)

        L = sum over the four deltas of x^2 / 2

    It is here to show the imbalance, not to help: one error of 3 pulls as hard as thirty of 0.1.

    Example:
        >>> import torch
        >>> from imbdet.modeling.boxes import BoxCoder
        >>> from imbdet.structures import Matched
        >>> zero, box = torch.zeros(1, dtype=torch.long), torch.tensor([[0.0, 0, 10, 10]])
        >>> m = Matched(zero, zero, torch.ones(1), zero, zero, box, box, num_classes=1, num_images=1)
        >>> L2Loss()(torch.tensor([[3.0, 0, 0, 1]]), m, BoxCoder())[0].item()
        5.0
    """

    def __call__(self, deltas: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """deltas (R, 4) -> (R,)."""
        error = deltas - box_coder.encode(matched.boxes, matched.targets)
        return 0.5 * error.square().sum(dim=1), {}
