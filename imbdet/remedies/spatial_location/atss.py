"""ATSS: each object sets its own IoU threshold, by the regions around its center.

Letters: N images, M objects, A regions of one image, L levels, S candidates of an object.
"""

import torch
from torch import Tensor

from ...modeling.defaults import claim
from ...slots import Matcher
from ._places import centers, distances, inside, nearest_of_level


class ATSS(Matcher):
    """Foreground from mean + standard deviation of the candidates' IoU on.

    Slot: matcher
    Imbalance: spatial_location
    Home: retinanet
    Source: Zhang et al., 2020, arXiv 1912.02424, algorithm 1
    Neutral: none; its threshold follows from the data. `deviations` of minus infinity would take all candidates
    Differs: the source has one anchor a cell; RetinaNet's nine stand at one place and share one distance, so `topk`
        counts places and all of their regions are candidates (`per_place`). GIoU, center-ness and group norm, which
        mmdetection's ATSS has besides, are not part of it

    Candidates of an object are, on each level, the regions at the `topk` places nearest to its center. With m and s the
    mean and the (unbiased) standard deviation of their IoU with it, a candidate is foreground where

        IoU >= m + deviations s,  and its center lies inside the object

    Of several objects the one of highest IoU takes it; everything else is background, nothing is ignored. An object
    whose threshold no candidate inside of it reaches, as can be with few and equal ones, gets none.

    Args:
        topk: places a level, 9 in the source. per_place: regions at one place, 9 in RetinaNet.
        deviations: factor of the standard deviation, 1 in the source.

    Raises:
        ValueError: topk or per_place below 1.

    Example:
        >>> ATSS().topk
        9
    """

    geometry = True

    def __init__(self, topk: int = 9, per_place: int = 9, deviations: float = 1.0):
        if topk < 1 or per_place < 1:
            raise ValueError(f"topk and per_place must be at least 1, got topk {topk} and per_place {per_place}")
        self.topk, self.per_place, self.deviations = topk, per_place, deviations
        self.levels = 1

    def build(self, strides: tuple[int, ...]) -> None:
        self.levels = len(strides)

    def __call__(self, iou: Tensor, valid: Tensor, *, regions: Tensor, levels: Tensor, objects: Tensor):
        """iou (N, M, A), valid (N, M), regions (N, A, 4), levels (N, A), objects (N, M, 4) -> object, IoU, kind."""
        points = centers(regions)
        distance, parts = distances(points, objects), []
        for level in range(self.levels):
            parts.append(nearest_of_level(distance, levels, level, self.topk * self.per_place))
        place, there = (torch.cat(x, dim=2) for x in zip(*parts, strict=True))  # (N, M, S)

        overlap = torch.where(there, iou.gather(2, place), 0.0)
        count = there.sum(dim=2, keepdim=True)
        mean = overlap.sum(dim=2, keepdim=True) / count.clamp(min=1)
        spread = torch.where(there, overlap - mean, 0.0).square().sum(dim=2, keepdim=True)
        deviation = (spread / (count - 1).clamp(min=1)).sqrt()

        good = there & (overlap >= mean + self.deviations * deviation) & valid.unsqueeze(2)
        # a region that is only filler in `place` may be a candidate of another level: False must not overwrite
        claimed = torch.zeros_like(iou).scatter_reduce(2, place, good.to(iou.dtype), "amax") > 0
        return claim(iou, claimed & inside(points, objects), iou)
