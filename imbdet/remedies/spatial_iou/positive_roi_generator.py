"""Positive RoI generator: the foreground of the RoI head is generated, with any distribution over IoU, not proposed.

Letters: N images, M objects, P proposals and B generated boxes of one image, I bins of IoU.
"""

import torch
from torch import Tensor

from ...modeling.boxes import pairwise_iou
from ...modeling.rpn import RPN
from ...structures import Objects
from ._box_generator import MOST, boxes_at, owned, share_out


class PositiveRoIGenerator(RPN):
    """An RPN that proposes background only in training; foreground is generated beside it. At test it is the RPN.

    Slot: proposals, and append_objects of roi_heads, since an object itself is a foreground region of IoU 1
    Imbalance: spatial_iou
    Home: faster_rcnn
    Source: Oksuz, Cam, Akbas, Kalkan, 2020, arXiv 1909.09777, algorithm 2, and the authors' code (bins and weights)
    Neutral: count=0, with roi_heads.append_objects as it was: the RPN's proposals
    Differs: a box is found along a random direction in position and size where the authors draw its corners from the
        region that its IoU allows; the IoU is that after the box was cut at the image's border; an IoU above 0.95 is
        not lowered to 0.95; a box that overlaps another object more than its own is left out; the weights are equal by
        default, where the authors' [0.73, 0.12, 0.15, 0.05, 0] for a foreground from 0.5 on imitate an RPN and stand in
        none of their published configs; their baseline has no objects as regions either
        (`append_objects=False`), which is to be compared with

    For each generated box a bin is drawn by `weights`, an IoU u uniformly from the bin, and an object such that each
    class of the image gets the same number of boxes and each object of a class, too; then a box whose IoU with the
    object is u (`boxes_at`). The region_sampler chooses among these boxes as it does among proposals: at most its
    fraction. The published comparison, generator and baseline alike, keeps 32 regions an image, a quarter foreground:
    `model.roi_heads.criterion.region_sampler.per_image=32`.

    Args:
        anchors, criterion, before_nms, after_nms, nms_threshold: see RPN.
        count: boxes an image, 0..4096; 128 is the foreground that a sampler of 512 regions takes. 0 turns it off.
        bases: lower ends of the bins, rising; each ends where the next begins, the last at 1.
        weights: share of each bin; they are divided by their sum. For a RoI head whose foreground begins at 0.7 the
            authors take [0, 0, 0.48, 0.25, 0.27], at 0.8 [0, 0, 0, 0.64, 0.36].
        limit: proposals of at least this IoU with an object are left out; the IoU at which the RoI head's foreground
            begins.

    Raises:
        ValueError: bins, weights or a count that make no sense.

    Example:
        >>> from imbdet.config import load_config
        >>> cfg = load_config("baselines/faster_rcnn_shapes", remedies=["positive_roi_generator"])
        >>> cfg.model.rpn.weights, cfg.model.roi_heads.append_objects
        ([1.0, 1.0, 1.0, 1.0, 1.0], False)
    """

    ends: Tensor
    edges: Tensor

    def __init__(
        self,
        anchors,
        criterion,
        before_nms=(2000, 1000),
        after_nms=(1000, 1000),
        nms_threshold: float = 0.7,
        count: int = 128,
        bases=(0.5, 0.6, 0.7, 0.8, 0.9),
        weights=(1.0, 1.0, 1.0, 1.0, 1.0),
        limit: float = 0.5,
    ):
        super().__init__(anchors, criterion, before_nms, after_nms, nms_threshold)
        ends = [*bases, 1.0]
        if len(bases) < 1 or bases[0] < 0.05 or any(a >= b for a, b in zip(ends, ends[1:], strict=False)):
            raise ValueError(f"bases must rise from 0.05 or more to below 1, got {list(bases)}")
        if len(weights) != len(bases) or min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(
                f"weights must be one for each of the {len(bases)} bases, not negative; got {list(weights)}"
            )
        if not 0 <= count <= MOST:
            raise ValueError(f"count must be 0..{MOST} boxes an image, got {count}")
        self.count = count
        self.limit = limit
        self.register_buffer("ends", torch.tensor(ends), persistent=False)
        self.register_buffer("edges", torch.tensor(weights).cumsum(dim=0) / sum(weights), persistent=False)

    def forward(self, features: dict[str, Tensor], sizes: Tensor, objects: Objects | None = None):
        """Propose as RPN does; in training P + B boxes an image."""
        boxes, valid, losses, stats = super().forward(features, sizes, objects)
        if objects is None or not self.count:
            return boxes, valid, losses, stats
        with torch.no_grad():
            background = self.overlap(boxes, objects).amax(dim=1) < self.limit
            generated, real = self.generate(objects, sizes)
        return torch.cat((boxes, generated), dim=1), torch.cat((valid & background, real), dim=1), losses, stats

    def generate(self, objects: Objects, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Map objects, sizes (N, 2) -> boxes (N, B, 4), valid (N, B)."""
        same = (objects.labels.unsqueeze(1) == objects.labels.unsqueeze(2)) & objects.valid.unsqueeze(1)
        weights = objects.valid / same.sum(dim=2).clamp(min=1)  # the objects of a class sum to 1
        owner, valid = share_out(weights, self.count)
        boxes = boxes_at(owned(objects, owner), self.draw(owner.shape), sizes)
        iou, best = self.overlap(boxes, objects).max(dim=1)
        return boxes, valid & (best == owner) & (iou > 0)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """Return IoU of that shape: a bin by its weight, and any IoU within."""
        draws = torch.rand(2, *shape, device=self.edges.device)
        bins = torch.searchsorted(self.edges, draws[0], right=True).clamp(max=len(self.edges) - 1)
        low, high = self.ends[bins], self.ends[bins + 1]
        return low + (high - low) * draws[1]

    def overlap(self, boxes: Tensor, objects: Objects) -> Tensor:
        """Return IoU (N, M, B), 0 for padded objects."""
        return pairwise_iou(objects.boxes, boxes) * objects.valid.unsqueeze(2)
