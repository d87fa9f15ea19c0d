"""RFLA: every object takes the regions whose receptive field fits it best, however small it is.

Letters: N images, M objects, A regions of one image, L levels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...modeling.defaults import claim, constants, top
from ...slots import Matcher
from ._gaussians import kl_divergence


class RFLA(Matcher):
    """Ranks regions for each object by the divergence of two Gaussians, in two rounds.

    Slot: matcher
    Imbalance: scale
    Home: retinanet; made for dense heads: the source has it in the RPN (`rfla@rpn`) and in FCOS
    Source: Xu, Wang, Yang, Yu, 2022, arXiv 2208.08738, sections 3.2 and 3.3; numbers of the authors' code
    Neutral: none; it has no threshold of IoU
    Differs: without `fields` the region itself stands for the receptive field, as a network's field is not known here
        in general; the second round looks only at regions that the first left, so that each object gets one more; the
        authors' code shrinks its anchors in place, so that regression targets are computed from anchors a tenth too
        small and boxes are decoded from whole ones: here regions stay as they are

    A region is the Gaussian of half its receptive field, the object one of its box:

        RFD = 1 / (1 + KL(region || object))

    Round 1: the `first` regions of highest RFD of each object are foreground. Round 2: on fields shrunk by `shrink`,
    the `second` best of the others. Of several objects the one of highest RFD takes a region. Of the rest, regions with
    RFD >= `ignore` are ignored, others background. An object of 4 pixels gets as many regions as one of 100; "unsuited
    for generic object detection", say the authors.

    Args:
        fields: theoretical receptive field of each level in pixels, finest first; the Gaussian has half of it, in the
            aspect ratio of the region. None takes the regions' own boxes.
        first, second: regions for each object; 3 and 1 in the source.
        shrink: 0..1, 0.9 in the source.
        ignore: RFD in 0..1, 0.8 in the source.

    Raises:
        ValueError: a number out of range; another number of fields than levels.

    Example:
        >>> RFLA().first
        3
    """

    geometry = True

    def __init__(
        self,
        fields: Sequence[float] | None = None,
        first: int = 3,
        second: int = 1,
        shrink: float = 0.9,
        ignore: float = 0.8,
    ):
        if first < 1 or second < 0 or not 0 < shrink <= 1 or not 0 <= ignore <= 1:
            raise ValueError(
                f"need first >= 1, second >= 0, shrink and ignore in 0..1, got {first}, {second}, {shrink}, {ignore}"
            )
        self.fields = None if fields is None else [float(field) for field in fields]
        self.first, self.second, self.shrink, self.ignore = first, second, shrink, ignore

    def build(self, strides: tuple[int, ...]) -> None:
        if self.fields is not None and len(self.fields) != len(strides):
            raise ValueError(f"rfla: {len(self.fields)} fields for {len(strides)} levels; it takes one for each")

    def __call__(self, iou: Tensor, valid: Tensor, *, regions: Tensor, levels: Tensor, objects: Tensor):
        """iou (N, M, A), valid (N, M), regions (N, A, 4), levels (N, A), objects (N, M, 4) -> object, IoU, kind."""
        valid = valid.unsqueeze(2)
        field = self._fields_of(regions, levels)
        rfd = self._rfd(field, objects, valid)
        claimed = top(rfd, self.first) & valid
        index, overlap, kind = claim(rfd, claimed, iou)
        if self.second:
            smaller = self._rfd(_scaled(field, self.shrink), objects, valid)
            free = (kind == 0).unsqueeze(1)
            more = claim(smaller, top(smaller.where(free, -1.0), self.second) & free & valid, iou)
            fresh = more[2] == 1
            index, overlap = torch.where(fresh, more[0], index), torch.where(fresh, more[1], overlap)
            kind = torch.where(fresh, 1, kind)
        near = rfd.amax(dim=1) >= self.ignore
        return index, overlap, torch.where((kind == 0) & near, -1, kind)

    def _fields_of(self, regions: Tensor, levels: Tensor) -> Tensor:
        """(N, A, 4): the boxes whose Gaussians stand for the regions."""
        if self.fields is None:
            return regions
        side = constants(self.fields, regions)[levels.clamp(min=0)] / 2
        area = (regions[..., 2:] - regions[..., :2]).clamp(min=1e-3).prod(dim=-1)
        return _scaled(regions, (side / area.sqrt()).unsqueeze(-1))

    @staticmethod
    def _rfd(field: Tensor, objects: Tensor, valid: Tensor) -> Tensor:
        """(N, M, A), 0 for padding."""
        rfd = 1 / (1 + kl_divergence(field.unsqueeze(1), objects.unsqueeze(2)))
        return torch.where(valid, rfd, 0.0)


def _scaled(boxes: Tensor, factor: float | Tensor) -> Tensor:
    """Boxes of `factor` times the sides about the same centers; a new tensor."""
    center, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2 * factor
    return torch.cat((center - half, center + half), dim=-1)
