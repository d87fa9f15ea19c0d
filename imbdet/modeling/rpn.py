"""The region proposal network (Ren et al., 2015, arXiv 1506.01497), on the one criterion with a single class "object".

Letters: N images, A anchors of one image, P proposals of one image, R = N*A.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..slots import Proposals, Stats
from ..structures import Objects
from .anchors import AnchorGrid
from .boxes import clip
from .criterion import Criterion
from .heads import RPNHead
from .necks import FPN
from .nms import LIMIT, PAIRS, best, limit_at_test, pairwise_nms, suppress


class RPN(nn.Module, Proposals):
    """Slot `proposals`: features -> the best boxes of each image, whatever their class.

    Args:
        anchors: the AnchorGrid over all of the neck's levels. criterion: with num_classes 1.
        before_nms, after_nms: boxes kept of each level before, and of each image after suppression: (training, test).
        nms_threshold: IoU.
    """

    def __init__(
        self,
        anchors: AnchorGrid,
        criterion: Criterion,
        before_nms=(2000, 1000),
        after_nms=(1000, 1000),
        nms_threshold: float = 0.7,
    ):
        super().__init__()
        self.anchors = anchors
        self.criterion = criterion
        self.before_nms = tuple(before_nms)
        self.after_nms = tuple(after_nms)
        self.nms_threshold = nms_threshold

    def build(self, neck: FPN) -> None:
        """Make the head that fits the neck."""
        self.anchors.build(neck.strides)
        self.criterion.build(neck.strides)
        c, r, k = self.criterion.classification, self.criterion.regression, self.criterion.num_classes
        values = r.num_values + r.extra_values
        self.head = RPNHead(neck.channels, self.anchors.per_cell, c.num_logits(k), c.initial_bias(k), values)

    def forward(self, features: dict[str, Tensor], sizes: Tensor, objects: Objects | None = None):
        """Map features by level, sizes (N, 2) height and width, objects in training -> boxes (N, P, 4), valid (N, P),
        losses, stats.
        """
        maps = list(features.values())
        anchors, levels = self.anchors(maps)
        logits, deltas = self.head(maps)
        losses: dict[str, Tensor] = {}
        stats: Stats = {}
        if objects is not None:
            any_object = replace(objects, labels=torch.zeros_like(objects.labels))
            losses, stats = self.criterion.over_grid(anchors, levels, any_object, logits, deltas)
            stats = {f"rpn/{k}": v for k, v in stats.items()}
        with torch.no_grad():
            cells = [m.shape[-2] * m.shape[-1] * self.anchors.per_cell for m in maps]
            boxes, valid = self.propose(
                self.ranks(logits.detach().float()), deltas.detach().float(), anchors, cells, sizes
            )
        return boxes, valid, losses, stats

    def ranks(self, logits: Tensor) -> Tensor:
        """Map logits (N, A, C) -> (N, A), higher for what looks more like an object: the logit itself if there is
        one.
        """
        return logits.squeeze(2) if logits.shape[2] == 1 else self.criterion.scores(logits).squeeze(2)

    def propose(self, logits: Tensor, deltas: Tensor, anchors: Tensor, cells: list[int], sizes: Tensor):
        """Map logits (N, A), deltas (N, A, 4), anchors (A, 4), how many a level, sizes (N, 2) -> boxes (N, P, 4),
        valid.

        The best of each level, decoded, clipped, suppressed within the level; then the best of the image.
        """
        before, after = (pair[0 if self.training else 1] for pair in (self.before_nms, self.after_nms))
        counts = [min(before, count) for count in cells]
        starts = [sum(cells[:i]) for i in range(len(cells))]
        tops = [x.topk(k, dim=1) for x, k in zip(logits.split(cells, dim=1), counts, strict=True)]  # sorted
        scores = torch.cat([t.values for t in tops], dim=1)
        index = torch.cat([t.indices + start for t, start in zip(tops, starts, strict=True)], dim=1)
        outputs = deltas.gather(1, index.unsqueeze(-1).expand(-1, -1, deltas.shape[2]))
        boxes = self.criterion.boxes(outputs, anchors[index])
        boxes = clip(boxes, sizes)
        valid = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
        parts = list(zip(*(x.split(counts, dim=1) for x in (boxes, scores, valid)), strict=True))
        if len(boxes) * max(counts) ** 2 * len(counts) <= PAIRS:
            keep = _suppress_by_pairs([(b, v) for b, _, v in parts], self.nms_threshold)
        else:  # a call a level: its price is the square of the boxes in it
            limit = LIMIT if self.training else limit_at_test(boxes)
            groups = [torch.zeros_like(v, dtype=torch.long) for _, _, v in parts]
            kept_of = [
                suppress(b, s, g, v, self.nms_threshold, limit) for (b, s, v), g in zip(parts, groups, strict=True)
            ]
            keep = torch.cat(kept_of, dim=1)
        index, kept = best(scores, keep, after)
        return boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, 4)), kept


def _suppress_by_pairs(levels: list[tuple[Tensor, Tensor]], threshold: float) -> Tensor:
    """[(boxes (N, D_l, 4), valid (N, D_l))] -> kept (N, sum of D_l). All levels are groups of one call, padded."""
    size = max(valid.shape[1] for _, valid in levels)
    boxes = torch.cat([F.pad(b, (0, 0, 0, size - b.shape[1])) for b, _ in levels])
    valid = torch.cat([F.pad(v, (0, size - v.shape[1])) for _, v in levels])
    keep = pairwise_nms(boxes, valid, threshold).chunk(len(levels))
    return torch.cat([k[:, : v.shape[1]] for k, (_, v) in zip(keep, levels, strict=True)], dim=1)
