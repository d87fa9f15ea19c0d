"""FreeAnchor: an object has a bag of anchors, and it is learned that one of them classifies and places it well.

Letters: N images, M objects, A anchors of one image, B anchors of a bag, K classes, C logits, V values of a box.
"""

from typing import Any

import torch
from torch import Tensor

from ...modeling.boxes import BoxCoder, pairwise_iou
from ...modeling.criterion import Criterion
from ...modeling.defaults import AllRegions, Foreground, SigmoidCrossEntropy, ThresholdMatcher
from ...slots import Regression
from ...structures import Matched, Objects, RegionStats

TINY = 1e-12  #: smallest likelihood
LARGEST = 1 - 1e-7  #: largest probability of a negative: above, float32 has no gradient anyway


class FreeAnchor(Criterion):
    """A likelihood over bags of anchors in place of matching and both losses.

    Slot: dense_heads
    Imbalance: spatial_location
    Home: retinanet alone; it is the criterion of a dense head
    Source: Zhang, Wan, Liu, Ji, Ye, 2019, arXiv 1909.02466, equations 4 to 9, and the authors' code
    Neutral: none; with a bag of one anchor it is a likelihood of the best anchor of each object alone
    Differs: nothing in the formula. Of several processes each divides by its own objects, as in the source. Gradients
        are clipped as the baseline says (35 in the source)

    With p the sigmoid of the logits, L_box the box loss of an anchor to the object, B_i the `bag` anchors of highest
    IoU with object i, and for the regressed boxes, without gradient,

        P_ij = clamp((IoU_ij - t) / (max_j IoU_ij - t), 0, 1),    P_jc the largest P_ij of the objects i of class c

        x_ij = p_j(class of i) exp(-L_box_ij);    meanmax(x) = sum w x / sum w,  w = 1 / (1 - x)
        loss = -alpha / n sum over objects of log meanmax of B_i
             + (1 - alpha) / (n bag) sum over anchors and classes of -q^gamma log(1 - q),  q = p_jc (1 - P_jc)

    n is the number of objects. An anchor whose box already overlaps an object of class c well is no negative of c;
    which anchor of a bag learns the object is left to the training: the mean of a bag at first, its best one later.

    Reported are the second term as the classification's loss, and the first, which teaches both, as the box loss, so
    that what weighs losses by name finds them; statistics of regions are those of RetinaNet's thresholds.

    Args:
        regression, box_coder, num_classes: as of Criterion. bag: B, 50 in the source.
        threshold: t, 0.6 in the source. alpha, gamma: 0.5 and 2 in the source. prior: of every class before training.
        classification_weight, regression_weight: the second is L_box's, within the exponent (0.75 in the source).
        names: of the two losses.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0, 0.5], [0.0, 0.99]])  # near 0.5 the mean counts, near 1 the largest
        >>> [round(value, 3) for value in mean_max(x).tolist()]
        [0.333, 0.98]
    """

    def __init__(
        self,
        regression: Regression,
        box_coder: BoxCoder,
        num_classes: int,
        bag: int = 50,
        threshold: float = 0.6,
        alpha: float = 0.5,
        gamma: float = 2.0,
        prior: float = 0.01,
        classification_weight: float = 1.0,
        regression_weight: float = 1.0,
        names: Any = ("loss_cls", "loss_box_reg"),
    ):
        super().__init__(
            matcher=ThresholdMatcher(0.5, 0.4, True),
            region_sampler=AllRegions(),
            classification=SigmoidCrossEntropy(prior),
            regression=regression,
            normalizer=Foreground(),
            box_coder=box_coder,
            num_classes=num_classes,
            classification_weight=classification_weight,
            regression_weight=regression_weight,
            names=names,
        )
        if bag < 1 or not 0 <= threshold < 1 or not 0 <= alpha <= 1 or gamma < 0:
            raise ValueError(
                "need bag >= 1, threshold in 0..1 (not 1), alpha in 0..1 and gamma >= 0, got "
                f"bag {bag}, threshold {threshold}, alpha {alpha}, gamma {gamma}"
            )
        self.bag, self.threshold, self.alpha, self.gamma = bag, threshold, alpha, gamma

    def over_grid(self, regions: Tensor, levels: Tensor, objects: Objects, logits: Tensor, outputs: Tensor):
        """regions (A, 4), levels (A,), logits (N, A, K), outputs (N, A, V) -> losses, stats."""
        logits, outputs = logits.float(), outputs.float()
        scores = self.classification.scores(logits)
        count = objects.valid.sum().clamp(min=1).float()
        value, place, weight = self._bags(regions, objects, scores, outputs)
        positive = torch.where(objects.valid, value, 0.0)
        with torch.no_grad():
            near = self._nearness(regions, objects, outputs)
        q = (scores * (1 - near)).clamp(TINY, LARGEST)
        negative = (1 - self.alpha) * -(q**self.gamma * torch.log1p(-q)).sum(dim=2)  # (N, A)
        name_cls, name_reg = self.names
        losses = {
            name_cls: negative.sum() * (self.classification_weight / (count * self.bag)),
            name_reg: positive.sum() / count,
        }
        with torch.no_grad():
            held = torch.zeros_like(negative).scatter_add_(
                1, place.flatten(1), (weight * positive.unsqueeze(2)).flatten(1)
            )
            stats = self._stats(regions, levels, objects, outputs, negative / self.bag + held)
        stats["free_anchor/best_of_bag"] = (weight.amax(dim=2) * objects.valid).sum() / count
        return losses, stats

    def _bags(self, regions: Tensor, objects: Objects, scores: Tensor, outputs: Tensor):
        """-> the loss of each object's bag (N, M), its anchors (N, M, B) and their weights in it, without gradient."""
        n, m = objects.labels.shape
        place = pairwise_iou(objects.boxes, regions).topk(min(self.bag, len(regions)), dim=2, sorted=False).indices
        b = place.shape[2]
        flat = place.flatten(1)  # (N, M B)
        own = scores.gather(1, flat.unsqueeze(2).expand(-1, -1, scores.shape[2])).view(n, m, b, -1)
        own = own.gather(3, objects.labels.view(n, m, 1, 1).expand(-1, -1, b, 1)).squeeze(3)
        boxes = regions[place]
        targets = torch.where(objects.valid.view(n, m, 1, 1), objects.boxes.unsqueeze(2), boxes)
        rows = outputs.gather(1, flat.unsqueeze(2).expand(-1, -1, outputs.shape[2])).flatten(0, 1)
        box_loss, _ = self.regression(rows, self._as_matched(objects, place, boxes, targets), self.box_coder)
        x = own * torch.exp(-self.regression_weight * box_loss.view(n, m, b))
        weight = (1 / (1 - x).clamp(min=TINY)).detach()
        loss = -self.alpha * torch.log(mean_max(x).clamp(min=TINY))
        return loss, place, weight / weight.sum(dim=2, keepdim=True)

    def _as_matched(self, objects: Objects, place: Tensor, boxes: Tensor, targets: Tensor) -> Matched:
        """The anchors of all bags as foreground of their objects, for the regression slot: N M B regions."""
        n, m, b = place.shape
        index = torch.arange(n * m, device=place.device).repeat_interleave(b)
        image = torch.div(index, m, rounding_mode="floor")
        return Matched(
            labels=objects.labels.view(-1)[index],
            objects=index,
            iou=torch.ones(n * m * b, device=place.device),
            images=image,
            levels=torch.zeros_like(index),
            boxes=boxes.reshape(-1, 4),
            targets=targets.reshape(-1, 4),
            num_classes=self.num_classes,
            num_images=n,
        )

    def _nearness(self, regions: Tensor, objects: Objects, outputs: Tensor) -> Tensor:
        """P_jc (N, A, K): how surely an anchor's box is one of an object of each class."""
        boxes = self.boxes(outputs, regions)
        iou = pairwise_iou(objects.boxes, boxes).nan_to_num(nan=0.0) * objects.valid.unsqueeze(2)  # (N, M, A)
        span = (iou.amax(dim=2, keepdim=True) - self.threshold).clamp(min=TINY)
        near = ((iou - self.threshold) / span).clamp(0, 1)
        n, a = boxes.shape[:2]
        found = near.new_zeros(n, self.num_classes, a)
        index = objects.labels.unsqueeze(2).expand(-1, -1, a)
        return found.scatter_reduce(1, index, near, "amax").transpose(1, 2)

    def _stats(self, regions: Tensor, levels: Tensor, objects: Objects, outputs: Tensor, values: Tensor) -> dict:
        matched = self.match(regions, levels, objects)
        flat = outputs.flatten(0, 1).where(matched.foreground.unsqueeze(1), 0.0)
        deltas = self.regression.deltas(flat, matched.boxes, self.box_coder)
        values = values.flatten()
        return {"regions": RegionStats(matched, values, torch.zeros_like(values), deltas, self.box_coder)}


def mean_max(x: Tensor) -> Tensor:
    """(..., B) in 0..1 -> their mean, weighted by 1 / (1 - x) (...): near the largest where that is near 1."""
    weight = 1 / (1 - x).clamp(min=TINY)
    return (weight * x).sum(dim=-1) / weight.sum(dim=-1)
