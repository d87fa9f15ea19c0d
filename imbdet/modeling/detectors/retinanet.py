"""RetinaNet (Lin et al., 2017, arXiv 1708.02002): one stage, all anchors of all levels in one criterion.

Letters: N images, A anchors of one image, K classes, C logits an anchor.
"""

import torch
from torch import Tensor

from ..anchors import AnchorGrid
from ..criterion import Criterion
from ..heads import RetinaNetHead
from .base import Detector


class RetinaNet(Detector):
    """The detector; what it learns from is `criterion`.

    Args:
        anchors: AnchorGrid over all of the neck's levels. criterion: over anchors. convs: in each tower of the head.
        candidates_per_level: the best of each level go on to suppression (detectron2: 1000).
        For the others see Detector.
    """

    def __init__(
        self,
        anchors: AnchorGrid,
        criterion: Criterion,
        *,
        convs: int = 4,
        candidates_per_level: int = 1000,
        **common,
    ):
        super().__init__(**common)
        self.anchors = anchors
        anchors.build(self.neck.strides)
        self.criterion = criterion
        criterion.build(self.neck.strides)
        c, r, k = criterion.classification, criterion.regression, criterion.num_classes
        logits, bias = c.num_logits(k), c.initial_bias(k)
        self.head = RetinaNetHead(
            self.neck.channels, anchors.per_cell, logits, bias, convs, r.extra_values, r.num_values
        )
        self.candidates_per_level = candidates_per_level

    def balance_points(self):
        """The neck: from there on either loss has a tower of its own."""
        return {"": (*self.criterion.names, list(self.neck.parameters()))}

    def losses(self, features, sizes, objects):
        maps = list(features.values())
        anchors, levels = self.anchors(maps)
        return self.criterion.over_grid(anchors, levels, objects, *self.head(maps))

    def candidates(self, features, sizes):
        maps = list(features.values())
        anchors, _ = self.anchors(maps)
        logits, deltas = self.head(maps)
        n, a, _ = logits.shape
        cells = [m.shape[-2] * m.shape[-1] * self.anchors.per_cell for m in maps]
        places, values, start = [], [], 0
        for count, level in zip(cells, logits.float().split(cells, dim=1), strict=True):
            level = self.criterion.scores(level, self.calibration)  # (N, count, K)
            k = level.shape[-1]
            value, index = self.top(level.flatten(1), self.candidates_per_level)
            places.append(index + start * k)
            values.append(value)
            start += count
        best, scores = torch.cat(places, dim=1), torch.cat(values, dim=1)
        labels = best % k
        best = torch.div(best, k, rounding_mode="floor")
        boxes = self.criterion.decode(_take(deltas.float(), best), anchors[best])
        return boxes, scores, labels, scores > self.score_threshold


def _take(values: Tensor, index: Tensor) -> Tensor:
    """values (N, A, X), index (N, D) -> (N, D, X)."""
    return values.gather(1, index.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
