"""OHEM: of all regions only those with the highest loss are learned from, one for each place.

Letters: N images, A regions of one image, R = N*A, B regions kept an image, D candidates of one image.
"""

import torch
from torch import Tensor

from ...modeling.boxes import pairwise_iou
from ...modeling.defaults import choose
from ...slots import Weighting
from ...structures import Matched

#: rounds of suppression. Each settles one more link of the longest chain of overlapping boxes with falling loss, which
#: is 2 to 8 long in practice; a fixed number needs no wait for the device
ROUNDS = 12


class OHEM(Weighting):
    """Weighs the hardest regions of the batch 1 and the rest 0.

    Slot: weighting
    Imbalance: class_fg_bg
    Home: faster_rcnn
    Source: Shrivastava, Gupta, Girshick, 2016, arXiv 1604.03540, section 4 and the authors' code
    Neutral: OHEM(per_image=all, nms_threshold=1), which keeps every region
    Differs: one forward pass serves scoring and learning, where the authors run a read-only copy of the head first: the
        loss and its gradient are the same but for dropout, which our heads do not have. Of each image the `candidates`
        regions of highest loss enter suppression, so that it works on the anchors of one-stage detectors as well. The
        losses are divided by `per_image` for each image, what the authors' mean over the chosen amounts to; the box
        loss is the detector's L1, theirs smooth L1

    Regions are ranked by the sum of both losses; a region goes if one of the same image and label with a higher loss
    overlaps it by more than `nms_threshold`; of the rest the highest N B of the whole batch are kept, whatever their
    label: there is no ratio of foreground to background.

    Args:
        per_image: B; 64 in the paper (128 for two images).
        nms_threshold: IoU, 0.7 in the paper.
        candidates: D.

    Example:
        >>> from imbdet.remedies.class_fg_bg.ohem import OHEM
        >>> OHEM().per_image
        64
    """

    def __init__(self, per_image: int = 64, nms_threshold: float = 0.7, candidates: int = 1000):
        if per_image < 1 or candidates < per_image or not 0 <= nms_threshold <= 1:
            raise ValueError(
                "need 1 <= per_image <= candidates and nms_threshold in 0..1, "
                f"got {per_image}, {candidates} and {nms_threshold}"
            )
        self.per_image = per_image
        self.nms_threshold = nms_threshold
        self.candidates = candidates

    def __call__(self, classification: Tensor, regression: Tensor, matched: Matched):
        """(R,), (R,), Matched -> ((R,), (R,)) weights, stats."""
        n = matched.num_images
        loss = torch.where(matched.considered, classification + regression, -1.0).view(n, -1)
        size = loss.shape[1]
        value, index = loss.topk(min(self.candidates, size), dim=1)
        boxes = matched.boxes.view(n, size, 4).gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
        stays = suppress_by_loss(boxes, matched.labels.view(n, size).gather(1, index), value >= 0, self.nms_threshold)
        value = torch.where(stays, value, -1.0).view(-1)
        index = (index + torch.arange(n, device=index.device).unsqueeze(1) * size).view(-1)
        best, order = value.topk(min(n * self.per_image, len(value)))
        weights = torch.zeros_like(classification).scatter(0, index[order], (best >= 0).to(classification.dtype))
        return (weights, weights), _stats(classification + regression, weights, matched)


class OHEMPerKind(Weighting):
    """mmdetection's rule: a fixed share of foreground, and the hardest of each kind by classification loss alone.

    The same slot; put it there with `L(OHEMPerKind)(per_image=512, fraction=0.25)`. There is no suppression.

    Args:
        per_image: regions kept of an image. fraction: largest share of foreground.
    """

    def __init__(self, per_image: int = 512, fraction: float = 0.25):
        if per_image < 1 or not 0 <= fraction <= 1:
            raise ValueError(f"need per_image >= 1 and fraction in 0..1, got {per_image} and {fraction}")
        self.per_image = per_image
        self.fraction = fraction

    def __call__(self, classification: Tensor, regression: Tensor, matched: Matched):
        n, most = matched.num_images, int(self.per_image * self.fraction)
        loss = classification.view(n, -1)
        foreground, background = matched.foreground.view(n, -1), matched.background.view(n, -1)
        positives = foreground.sum(dim=1, keepdim=True).clamp(max=most)
        chosen = choose(foreground, positives, most, loss)
        chosen = chosen | choose(background, self.per_image - positives, self.per_image, loss)
        weights = chosen.view(-1).to(classification.dtype)
        return (weights, weights), _stats(classification, weights, matched)


def suppress_by_loss(boxes: Tensor, labels: Tensor, valid: Tensor, threshold: float, rounds: int = ROUNDS) -> Tensor:
    """Suppress greedily within equal labels of boxes sorted by loss, highest first.

    Args:
        boxes: (N, D, 4). labels: (N, D). valid: (N, D) bool. threshold: IoU above which the lower loss goes.

    Returns:
        (N, D) bool. Equal to the greedy loop for chains of up to `rounds` boxes (see `imbdet.modeling.nms`).
    """
    overlaps = torch.triu(pairwise_iou(boxes, boxes) > threshold, diagonal=1)
    overlaps = (overlaps & (labels.unsqueeze(2) == labels.unsqueeze(1))).float()
    keep = valid
    for _ in range(rounds):  # a matrix product counts what overlaps, many times faster than a reduction of booleans
        keep = valid & (torch.bmm(keep.unsqueeze(1).float(), overlaps).squeeze(1) == 0)
    return keep


def _stats(loss: Tensor, weights: Tensor, matched: Matched) -> dict[str, Tensor]:
    """The mean loss of the chosen and of the rest, and how many of the chosen are foreground."""
    considered = matched.considered.to(loss.dtype)
    chosen, rest = weights, considered * (1 - weights)
    foreground = (weights * matched.foreground).sum()
    return {
        "ohem/loss_of_chosen": (loss * chosen).sum() / chosen.sum().clamp(min=1),
        "ohem/loss_of_rest": (loss * rest).sum() / rest.sum().clamp(min=1),
        "ohem/foreground_share": foreground / chosen.sum().clamp(min=1),
    }
