"""ISR-P: of the regions of an object, those that will fit it best count most in the classification.

Letters: R regions, K classes.
"""

import torch
from torch import Tensor

from ...modeling.boxes import paired_iou
from ...slots import Weighting
from ...structures import Matched


class ISRP(Weighting):
    """Weighs positives by their place in a ranking by the IoU of the regressed box, class by class.

    Slot: weighting
    Imbalance: spatial_iou
    Home: faster_rcnn
    Source: Cao, Chen, Loy, Lin, 2020, arXiv 1904.04821, sections 3.1 and 4.1 (PISA), and the authors' code
    Neutral: ISRP(bias=1), which weighs all regions 1
    Differs: only the positives' part of PISA, which has one for negatives besides, and CARL (`carl`); SmoothL1 and 2000
        proposals at test are not part of it

    For each object its positives are ranked by IoU, best first: rank o_i = 0, 1, ... Within each class positives are
    then ordered by n_max - o_i + IoU_i, so that the best of every object come before the second ones: rank r_i. With
    n_max the most positives of any class in the batch:

        u_i = (n_max - r_i) / n_max,    w_i = (bias + (1 - bias) u_i)^k, scaled to leave the positives' loss its sum

    Background and the box loss keep the weight 1.

    Args:
        k: 0 or more, 2 in the source. bias: 0..1, 0 in the source.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> ISRP().k
        2.0
    """

    def __init__(self, k: float = 2.0, bias: float = 0.0):
        if k < 0 or not 0 <= bias <= 1:
            raise ValueError(f"need k of 0 or more and bias in 0..1, got k {k} and bias {bias}")
        self.k, self.bias = float(k), float(bias)

    def __call__(self, classification: Tensor, regression: Tensor, matched: Matched):
        """(R,), (R,), Matched -> ((R,), (R,)) weights, stats."""
        foreground = matched.foreground
        iou = paired_iou(matched.regressed().float(), matched.targets).clamp(0, 1).where(foreground, 0.0)
        in_object = rank_in_group(iou, torch.where(foreground, matched.objects, -1))
        labels = torch.where(foreground, matched.labels, matched.num_classes)
        counts = torch.zeros(matched.num_classes + 1, dtype=torch.int64, device=labels.device)
        most = counts.scatter_add(0, labels, foreground.long()).max().clamp(min=1)
        in_class = rank_in_group(most - in_object + iou.double(), labels)
        share = ((most - in_class) / most).clamp(min=0).to(classification.dtype)
        weights = (self.bias + (1 - self.bias) * share) ** self.k
        before = (classification * foreground).sum()
        after = (classification * weights * foreground).sum()
        scale = torch.where(after > 0, before / after, 1.0)
        weights = torch.where(foreground, weights * scale, 1.0)
        return (weights, torch.ones_like(regression)), {"isr_p/largest": weights.max()}


def rank_in_group(value: Tensor, group: Tensor) -> Tensor:
    """Map value (R,), group (R,) int64 -> (R,) int64: how many of the group have a higher value (or as high,
    earlier).
    """
    order = value.sort(descending=True, stable=True).indices
    order = order[group[order].sort(stable=True).indices]
    sorted_group = group[order]
    place = torch.arange(len(group), device=group.device)
    fresh = torch.ones_like(place, dtype=torch.bool)
    fresh[1:] = sorted_group[1:] != sorted_group[:-1]
    first = torch.where(fresh, place, 0).cummax(dim=0).values
    return torch.zeros_like(place).scatter(0, order, place - first)
