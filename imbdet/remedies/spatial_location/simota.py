"""SimOTA: how many regions an object gets follows from how well it is predicted, and which from what they would cost.

Letters: N images, M objects, A regions of one image.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...modeling.defaults import ThresholdMatcher, claim, constants, one_hot
from ...structures import Matched, Objects
from ._places import centers, inside
from ._second_pass import look

FAR = 1e5  #: cost of a region that is not both inside the object and near its center


class SimOTA(ThresholdMatcher):
    """Foreground are the cheapest regions of each object, as many as its best IoUs add up to.

    Slot: matcher
    Imbalance: spatial_location
    Home: retinanet alone, and the RPN (`simota@rpn`); RoI heads match once, before they predict. Made for YOLOX, which
        has one region a cell and no anchor
    Source: Ge et al., 2021, arXiv 2107.08430, section 2.3 "SimOTA", and the authors' code
    Neutral: SimOTA(candidates=0), which is the first pass, ThresholdMatcher
    Differs: the classification cost is the cross entropy of sigmoids whatever the criterion's loss is, of the scores as
        they are (YOLOX multiplies them by its objectness, which is not here)

    Candidates are regions whose center lies inside the object, or within `radius` strides of its center. With p the
    scores and u the IoU of the predicted box:

        cost = BCE(p, one-hot of the class) + weight (-log u) + 100,000 where it is not both inside and near

    Object j gets k_j = max(1, floor of the sum of its `candidates` largest u) cheapest regions. Of several objects the
    cheapest takes a region; everything else is background.

    Args:
        candidates: how many IoUs are summed, 10 in the source; 0 leaves the first pass. It is the most that k can be.
        radius: in strides of the region's level, 2.5 in the source.
        weight: of the IoU's cost, 3 in the source.
        foreground, background, best_for_each_object: of the first pass; they act where candidates is 0.

    Raises:
        ValueError: a negative number.

    Example:
        >>> SimOTA().radius
        2.5
    """

    def __init__(
        self,
        foreground: float = 0.5,
        background: float = 0.4,
        best_for_each_object: bool = True,
        candidates: int = 10,
        radius: float = 2.5,
        weight: float = 3.0,
    ):
        super().__init__(foreground, background, best_for_each_object)
        if min(candidates, radius, weight) < 0:
            raise ValueError(
                f"candidates, radius and weight must not be negative, got {candidates}, {radius}, {weight}"
            )
        self.candidates, self.radius, self.weight = candidates, radius, weight
        self.strides: tuple[int, ...] = (1,)

    def build(self, strides: tuple[int, ...]) -> None:
        self.strides = strides

    def rematch(self, matched: Matched, objects: Objects, logits: Tensor, outputs: Tensor, criterion) -> Matched:
        if not self.candidates:
            return matched
        seen = look(matched, objects, logits, outputs, criterion)
        reach = self.radius * constants(self.strides, seen.iou)[seen.levels]  # (N, A)
        offset = (seen.points.unsqueeze(1) - centers(objects.boxes).unsqueeze(2)).abs().amax(dim=-1)
        near, within = offset < reach.unsqueeze(1), inside(seen.points, objects.boxes, 0.0)
        candidate = (near | within) & objects.valid.unsqueeze(2)

        cost = self._classification_cost(criterion.scores(logits), objects) - self.weight * torch.log(seen.iou + 1e-8)
        cost = cost + FAR * ~(near & within)
        iou = seen.iou * candidate
        most = min(self.candidates, iou.shape[2])
        count = iou.topk(most, dim=2).values.sum(dim=2).int().clamp(min=1)  # (N, M)
        cheapest = torch.where(candidate, -cost, -10 * FAR).topk(most, dim=2).indices
        chosen = torch.arange(most, device=cost.device) < count.unsqueeze(2)
        claimed = torch.zeros_like(candidate).scatter(2, cheapest, chosen) & candidate
        index, _, kind = claim(-cost, claimed, seen.anchor_iou)
        overlap = seen.anchor_iou.gather(1, index.unsqueeze(1)).squeeze(1)
        return criterion.assign(matched, objects, index, overlap, kind)

    @staticmethod
    def _classification_cost(scores: Tensor, objects: Objects) -> Tensor:
        """(N, M, A): sum over the classes of BCE with the object's class. scores (N*A, K)."""
        n, m = objects.labels.shape
        scores = scores.view(n, -1, scores.shape[1]).clamp(1e-6, 1 - 1e-6)
        negative = -torch.log1p(-scores)  # (N, A, K)
        truth = one_hot(objects.labels.view(-1), scores.shape[2], scores.dtype).view(n, m, -1)
        swap = torch.einsum("nmk,nak->nma", truth, -torch.log(scores) - negative)
        return F.relu(negative.sum(dim=2).unsqueeze(1) + swap)  # rounding must not make it negative
