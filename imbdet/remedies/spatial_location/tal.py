"""Task-aligned assignment: an object is learned by the regions that classify it and place it best.

Letters: N images, M objects, A regions of one image.
"""

from torch import Tensor

from ...modeling.defaults import ThresholdMatcher, claim, top
from ...structures import Matched, Objects
from ._places import inside
from ._second_pass import look


class TAL(ThresholdMatcher):
    """Foreground are the regions of highest score^alpha IoU^beta of each object, by what the head predicts now.

    Slot: matcher
    Imbalance: spatial_location
    Home: retinanet alone, and the RPN (`tal@rpn`); RoI heads match once, before they predict
    Source: Feng et al., 2021, arXiv 2108.07755, section 3.2 (TOOD)
    Neutral: TAL(topk=0), which is the first pass, ThresholdMatcher
    Differs: the source starts with 4 epochs of ATSS, this has no such phase; the task-aligned head, the targets
        normalized to the IoU and the weights of the box loss are not part of it (`quality_focal_loss` is near to the
        second). Regions that the first pass left between its thresholds are background here, as in the source

    With s the score of the object's class and u the IoU of the predicted box:

        t = s^alpha u^beta

    The `topk` regions of largest t among those whose center lies inside the object become foreground, wherever t is
    above 0; of several objects the one of highest IoU takes a region; everything else is background. Two hundred
    regions of a head that knows nothing differ by the IoU alone, to the power of 6.

    Args:
        topk: regions an object, 13 in the source; 0 leaves the first pass.
        alpha, beta: 0 or more; 1 and 6 in the source.
        foreground, background, best_for_each_object: of the first pass; they act where topk is 0.

    Raises:
        ValueError: a negative number.

    Example:
        >>> TAL().topk
        13
    """

    def __init__(
        self,
        foreground: float = 0.5,
        background: float = 0.4,
        best_for_each_object: bool = True,
        topk: int = 13,
        alpha: float = 1.0,
        beta: float = 6.0,
    ):
        super().__init__(foreground, background, best_for_each_object)
        if min(topk, alpha, beta) < 0:
            raise ValueError(f"topk, alpha and beta must not be negative, got {topk}, {alpha} and {beta}")
        self.topk, self.alpha, self.beta = topk, alpha, beta

    def rematch(self, matched: Matched, objects: Objects, logits: Tensor, outputs: Tensor, criterion) -> Matched:
        if not self.topk:
            return matched
        seen = look(matched, objects, logits, outputs, criterion)
        metric = seen.score**self.alpha * seen.iou**self.beta
        metric = metric * (inside(seen.points, objects.boxes) & objects.valid.unsqueeze(2))
        claimed = top(metric, self.topk) & (metric > 0)
        index, _, kind = claim(seen.iou, claimed, seen.anchor_iou)
        overlap = seen.anchor_iou.gather(1, index.unsqueeze(1)).squeeze(1)
        return criterion.assign(matched, objects, index, overlap, kind)
