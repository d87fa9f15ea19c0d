"""KL loss: the head says how sure it is of each side of a box, and learns less from sides that nobody can place.

At test the same numbers let neighbors vote: each side of a kept box is the mean of the candidates' around it, weighed
by how sure they are (`VarianceVoting`).

Letters: N images, D candidates and T detections of one image, R regions, V = 4 values beside the deltas.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...modeling.boxes import pairwise_iou
from ...slots import Regression
from ...structures import Matched
from ._boxes import TINY, sides


class KLLoss(Regression):
    """Regression with a variance for each of the four sides, learned from the errors alone.

    Slot: regression
    Imbalance: spatial_regression
    Home: faster_rcnn
    Source: He, Zhu, Wang, Savvides, Zhang, 2019, arXiv 1809.08545, sections 3.1 to 3.3
    Neutral: with s = 0 it is smooth L1 of beta 1 on the sides, and voting=None leaves the detections alone, bit for bit
    Differs: the errors are those of the decoded box's sides, and s is the sides', as in the paper, but the head still
        predicts center and size, so decoder and cascade stay as they are. s is kept within least..limit by a tanh,
        where the authors have no bound (exp(-s) can explode) and a hard one has no way back. On boxes without noise the
        best exp(-s) grows as errors shrink, until this loss outweighs all others: hence `least`, and loss weight 0.2 on
        RoI heads, where theirs is 1. The authors' code sums the
        weighted error twice into the printed loss; its voting takes the deviations in the order x1, x2, y1, y2 for
        boxes x1, y1, x2, y2, and not scaled by the box; here they are pixels of the right side. Their results start
        from a detector trained to the end; their voting runs inside soft-NMS, over the candidates not yet kept or
        dropped, here over all of the class; loss weight 0.1 on RetinaNet, where none is published: the unit is ten
        times that of its L1

    With x the error of a side in tenths of the region's width or height, s = log sigma^2 predicted beside the deltas:

        L = sum over the four sides of exp(-s) smooth_l1(x; beta=1) + s / 2

    For |x| > 1 the best s is ln(2 |x| - 1): where errors stay large the variance grows and the gradient shrinks.

    Args:
        unit: an error of 1 is this part of the region's side: 10 is a tenth, the paper's weights.
        limit: largest s; 7 lets the deviation be up to 330 % of the region's side.
        least: smallest s; -2 keeps the deviation above 3.7 % of it, and exp(-s) below 7.4.

    Example:
        >>> import torch
        >>> from imbdet.modeling.boxes import BoxCoder
        >>> from imbdet.structures import Matched
        >>> zero, box = torch.zeros(1, dtype=torch.long), torch.tensor([[0.0, 0, 10, 10]])
        >>> m = Matched(zero, zero, torch.ones(1), zero, zero, box, box, num_classes=1, num_images=1)
        >>> shifted = torch.tensor([[0.3, 0, 0, 0, 0, 0, 0, 0]])  # x1 and x2 are off by three tenths: 2.5 each
        >>> round(KLLoss()(shifted, m, BoxCoder())[0].item(), 4)
        5.0
    """

    extra_values = 4

    def __init__(self, unit: float = 10.0, limit: float = 7.0, least: float = -2.0):
        if unit <= 0 or limit <= 0 or least >= 0:
            raise ValueError(
                f"unit and limit must be positive and least negative, got unit {unit}, limit {limit}, least {least}"
            )
        self.unit = unit
        self.limit = limit
        self.least = least

    def __call__(self, deltas: Tensor, matched: Matched, box_coder) -> tuple[Tensor, dict]:
        """deltas (R, 4 + 4) -> (R,)."""
        boxes = box_coder.decode(deltas[:, :4], matched.boxes)
        error = (boxes - matched.targets) * (self.unit / extent(matched.boxes))
        s = self.log_variance(deltas[:, 4:])
        size = F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=1.0)
        values = (torch.exp(-s) * size + s / 2).sum(dim=1)
        positives = matched.foreground.sum().clamp(min=1)
        deviation = (torch.exp(s.detach() / 2).mean(dim=1) * matched.foreground).sum() / positives
        return values, {"kl_loss/deviation": deviation / self.unit}

    def log_variance(self, extra: Tensor) -> Tensor:
        """Map what the head predicts (..., 4) -> s (..., 4) within least..limit; both halves have slope 1 at 0."""
        end = torch.where(extra < 0, self.least, self.limit)
        return end * torch.tanh(extra / end)

    def deviations(self, extra: Tensor, regions: Tensor) -> Tensor:
        """Map what the head predicts (..., 4) for regions (..., 4) -> sigma of x1, y1, x2, y2 (..., 4), pixels."""
        return torch.exp(self.log_variance(extra) / 2) * (extent(regions) / self.unit)


class VarianceVoting:
    """Each side of a detection becomes the mean of that side over its class's candidates, the sure and near ones first.

    With p_i = exp(-(1 - IoU_i)^2 / sigma), IoU_i of candidate i with the detection, and sigma_i the candidate's own
    deviation of the side (He et al., 2019, arXiv 1809.08545, algorithm 1):

        x = sum_i p_i x_i / sigma_i^2  /  sum_i p_i / sigma_i^2    over the candidates with IoU_i > overlap

    The detection is one of them. Scores and the choice of the detections stay the detector's (the paper's result adds
    soft-NMS).

    Args:
        sigma: > 0; at 0.01 a candidate of IoU 0.9 counts 0.37, one of 0.7 nearly nothing. The paper's value.
        overlap: IoU, 0..1 exclusive.
    """

    def __init__(self, sigma: float = 0.01, overlap: float = 0.01):
        if sigma <= 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap is an IoU of at least 0 and below 1, got {overlap}")
        self.sigma = sigma
        self.overlap = overlap

    def __call__(self, index: Tensor, boxes: Tensor, beside: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        """index (N, T) of the detections, of candidates boxes (N, D, 4), deviations (N, D, 4), labels (N, D) and valid
        (N, D) -> (N, T, 4).
        """
        if beside.shape[-1] != 4:
            raise ValueError(
                "variance voting needs deviations: fill the slot regression with KLLoss, or set voting=null"
            )
        chosen, own = _take(boxes, index), labels.gather(1, index)
        most = max(1, int(valid.sum(dim=1).amax()))  # at test, waiting for it is allowed; most candidates are not valid
        voters = valid.float().topk(most, dim=1).indices
        iou = pairwise_iou(chosen, _take(boxes, voters))  # (N, T, most)
        counts = (iou > self.overlap) & valid.gather(1, voters).unsqueeze(1)
        counts = counts & (own.unsqueeze(2) == labels.gather(1, voters).unsqueeze(1))
        near = torch.exp(-((1 - iou) ** 2) / self.sigma) * counts
        sure = 1 / _take(beside, voters).square().clamp(min=TINY)
        weights = near.unsqueeze(3) * sure.unsqueeze(1)  # (N, T, most, 4)
        moves = _take(boxes, voters).unsqueeze(1) - chosen.unsqueeze(2)  # 0 for the detection itself: alone it stays
        return chosen + (weights * moves).sum(dim=2) / weights.sum(dim=2).clamp(min=TINY)


def extent(boxes: Tensor) -> Tensor:
    """Map (..., 4) -> width, height, width, height (..., 4), at least 1e-6 pixels."""
    both = sides(boxes).clamp(min=TINY**0.5)
    return torch.cat((both, both), dim=-1)


def _take(values: Tensor, index: Tensor) -> Tensor:
    """values (N, D, 4), index (N, T) -> (N, T, 4)."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
