"""Distribution focal loss: each side of a box is a distribution over bins, and its mean is where the side lies.

Letters: R regions, B + 1 bins a side.
"""

import torch
from torch import Tensor

from ...slots import BoxForm
from ...structures import Matched
from .giou_loss import GIoULoss
from .kl_loss import extent


class DFL(BoxForm):
    """GIoU of the box that the means make, and cross entropy of the two bins beside the true place of each side.

    Slot: regression
    Imbalance: spatial_regression
    Home: retinanet
    Source: Li et al., 2020, arXiv 2006.04388, equations 4 to 6 (Generalized Focal Loss); bins and weights of the
        authors' GFLHead in mmdetection
    Neutral: weight=0, which is GIoU loss of the box that the means make
    Differs: a bin is an eighth of the region's own width or height. GFL counts in strides and has one square anchor of
        8 strides a cell, where both are the same; regions of several shapes and RoIs have no stride of their own. Both
        parts are not weighed by the region's highest score, which a regression does not see; GFL's other parts are
        `quality_focal_loss` and `atss`. Weight 5 on RoI heads, for which none is published, makes GIoU as heavy as in
        `giou_loss`

    With S the softmax over a side's B + 1 outputs, d its distance from the region's center in bins, y the true one kept
    within 0..B - 0.1, i = floor(y):

        d = sum_i i S_i
        L = box_weight GIoU(box of the four d, object)
            - weight / 4 sum over the sides of  (i + 1 - y) log S_i + (y - i) log S_(i+1)

    The center of the region stays inside of the box, and no side is farther than B bins from it. A head that knows
    nothing says B / 2 bins, a box of twice the region's size.

    Args:
        bins: B, 16 in the source. per_side: bins in a width or height of the region, 8 in the source.
        weight: of the cross entropy, 0.25 in the source. box_weight: of GIoU, 2 in the source.

    Raises:
        ValueError: bins below 2; per_side not above 0; a negative weight.

    Example:
        >>> import torch
        >>> region = torch.tensor([[0.0, 0, 80, 40]])
        >>> DFL().boxes(torch.zeros(1, 68), region, None).tolist()  # the mean of 0..16 is 8 bins, one width
        [[-40.0, -20.0, 120.0, 60.0]]
    """

    def __init__(self, bins: int = 16, per_side: float = 8.0, weight: float = 0.25, box_weight: float = 2.0):
        if bins < 2 or per_side <= 0:
            raise ValueError(f"bins must be at least 2 and per_side positive, got bins {bins}, per_side {per_side}")
        if weight < 0 or box_weight < 0:
            raise ValueError(f"weight and box_weight must not be negative, got {weight} and {box_weight}")
        self.bins, self.per_side = bins, per_side
        self.weight, self.box_weight = weight, box_weight
        self.num_values = 4 * (bins + 1)
        self.giou = GIoULoss()

    def boxes(self, outputs: Tensor, regions: Tensor, box_coder) -> Tensor:
        """Map outputs (..., 4 (B + 1)) of regions (..., 4) -> boxes (..., 4)."""
        share = self._by_side(outputs).softmax(dim=-1)
        distance = share @ torch.arange(self.bins + 1, device=share.device, dtype=share.dtype)
        return centers(regions) + distance * outward(regions) / self.per_side

    def __call__(self, outputs: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """outputs (R, 4 (B + 1)) -> (R,)."""
        overlap = self.giou.between(self.boxes(outputs, matched.boxes, box_coder), matched.targets)
        place = (matched.targets - centers(matched.boxes)) * self.per_side / outward(matched.boxes)
        place = place.clamp(0, self.bins - 0.1).unsqueeze(-1)
        below = place.floor()
        pair = below.long() + torch.arange(2, device=place.device)
        log_share = self._by_side(outputs).log_softmax(dim=-1).gather(-1, pair)
        nearness = torch.cat((below + 1 - place, place - below), dim=-1)
        entropy = -(nearness * log_share).sum(dim=(1, 2)) / 4
        mean = (entropy.detach() * matched.foreground).sum() / matched.foreground.sum().clamp(min=1)
        return self.box_weight * overlap + self.weight * entropy, {"dfl/cross_entropy": mean}

    def _by_side(self, outputs: Tensor) -> Tensor:
        """(..., 4 (B + 1), and values beside them) -> (..., 4, B + 1)."""
        return outputs[..., : self.num_values].unflatten(-1, (4, self.bins + 1))


def centers(regions: Tensor) -> Tensor:
    """Map (..., 4) -> x, y, x, y of the center (..., 4)."""
    center = (regions[..., :2] + regions[..., 2:]) / 2
    return torch.cat((center, center), dim=-1)


def outward(regions: Tensor) -> Tensor:
    """Map (..., 4) -> width and height with the sign of the way out at each side (..., 4), pixels."""
    return extent(regions) * regions.new_tensor([-1.0, -1.0, 1.0, 1.0])
