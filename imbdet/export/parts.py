"""The steps of a detector that a graph cannot hold, anew with fixed numbers of boxes and pictures of any size.

Notable: weights, losses' scores, decoding and every head stay the detector's own code. What is replaced here waits for
a number of boxes or keeps a cache by size: the same deed, padded to its limit.

Letters: D candidates of the picture, L levels, R regions, K classes, T detections at most.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import nms

from ..modeling.anchors import AnchorGrid
from ..modeling.boxes import clip
from ..modeling.detectors import FasterRCNN, RetinaNet
from ..modeling.detectors.base import Detector
from ..modeling.nms import best
from ..modeling.roi_pool import MultiLevelRoIAlign
from ..modeling.rpn import RPN

CANDIDATES = 4096  #: boxes that go on to suppression, the best by score; ours has no limit
LEAST = torch.finfo(torch.float32).min  #: score of what is none; finite, as not every runtime sorts infinities


class _Anchors:
    """AnchorGrid without its cache."""

    def forward(self: Any, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self._build(features)


class _Pooler:
    """RoIAlign of all regions at every level, but at one level each of their own place: no number of regions a level.

    At the other levels a region is a point, which costs next to nothing.
    """

    def forward(self: Any, features: dict[str, Tensor], boxes: Tensor, images: Tensor) -> Tensor:
        regions = torch.cat((images.unsqueeze(1).to(boxes.dtype), boxes), dim=1)
        if len(self.levels) == 1:
            return self._align(features[self.levels[0]], regions, self.scales[0])
        level, pooled = self.assign(boxes).unsqueeze(1), None
        for place, (name, scale) in enumerate(zip(self.levels, self.scales, strict=True)):
            here = level == place
            values = self._align(features[name], regions * here, scale)
            pooled = values if pooled is None else torch.where(here[:, :, None, None], values, pooled)
        return pooled


class _Proposals:
    """The RPN's choice with `before` places a level, whatever the level's size."""

    def propose(self: Any, logits: Tensor, deltas: Tensor, anchors: Tensor, cells: list[int], sizes: Tensor):
        before, after = self.before_nms[1], self.after_nms[1]
        parts = []
        for values, rows, places in zip(
            logits.split(cells, dim=1), deltas.split(cells, dim=1), anchors.split(cells), strict=True
        ):
            score, index = top(values, before)
            outputs = rows.gather(1, index.unsqueeze(-1).expand(-1, -1, rows.shape[2]))
            parts.append((clip(self.criterion.boxes(outputs, places[index]), sizes), score))
        boxes, scores = (torch.cat(one, dim=1) for one in zip(*parts, strict=True))
        level = torch.arange(len(cells)).repeat_interleave(before, output_size=before * len(cells)).unsqueeze(0)
        valid = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1) & (scores > LEAST)
        index, kept = best(scores, suppress(boxes, scores, level, valid, self.nms_threshold), after)
        return boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, 4)), kept


class _Detector:
    """A picture in, at most T detections out, in tensors of fixed shape."""

    def forward(self: Any, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """image uint8 (3, H, W) -> boxes (T, 4), scores (T,), labels (T,)."""
        batch, sizes = picture(image, self.preprocess)
        return self.detect(*self.candidates(self.neck(self.backbone(batch)), sizes), sizes)

    def top(self: Any, scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
        return top(scores, most)

    def suppress(self: Any, boxes: Tensor, scores: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
        return suppress(boxes, scores, labels, valid, self.nms_threshold)

    def detect(self: Any, boxes: Tensor, scores: Tensor, labels: Tensor, valid: Tensor, sizes: Tensor):
        if boxes.shape[1] > CANDIDATES:
            scores, index = torch.where(valid, scores, LEAST).topk(CANDIDATES, dim=1)
            boxes = boxes.gather(1, index.unsqueeze(-1).expand(-1, -1, boxes.shape[2]))
            labels, valid = labels.gather(1, index), valid.gather(1, index)
        boxes, scores, labels, kept = self.chosen(boxes, scores, labels, valid, sizes)
        scores, order = torch.where(kept, scores, -1.0).topk(scores.shape[1], dim=1)  # what is none comes last
        real = scores[0] >= 0
        boxes, labels = boxes[0, order[0]] * real.unsqueeze(1), torch.where(real, labels[0, order[0]], -1)
        return boxes, scores[0].clamp(min=0), labels


#: part of a detector -> what replaces its methods
REPLACED: dict[type, type] = {
    AnchorGrid: _Anchors,
    MultiLevelRoIAlign: _Pooler,
    RPN: _Proposals,
    FasterRCNN: _Detector,
    RetinaNet: _Detector,
    Detector: _Detector,
}


def exportable(model: nn.Module) -> nn.Module:
    """A copy of a detector, on the CPU, in eval mode: image uint8 (3, H, W) -> boxes (T, 4), scores (T,), labels (T,).

    Raises:
        ValueError: no detector of ours, or a part that does itself what is replaced here.
    """
    if not isinstance(model, Detector):
        raise ValueError(
            f"a {type(model).__name__} is not a detector that can be exported; it must derive from Detector"
        )
    model = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    for part in list(model.modules()):
        base = next((kind for kind in REPLACED if isinstance(part, kind)), None)
        if base is None:
            continue
        ours, kind = REPLACED[base], type(part)
        own = [name for name in vars(ours) if not name.startswith("_") and getattr(kind, name) is not _of(base, name)]
        if own:
            raise ValueError(
                f"{kind.__name__} cannot be exported: it has its own {', '.join(own)}, whose number of boxes depends on"
                " the picture, and export has another for it"
            )
        part.__class__ = type(kind.__name__, (ours, kind), {"__module__": kind.__module__})
    return model


def _of(base: type, name: str) -> Any:
    return getattr(base, name)


def picture(image: Tensor, preprocess: Any) -> tuple[Tensor, Tensor]:
    """image uint8 (3, H, W) -> normalized and padded (1, 3, H', W'), its size (1, 2) before padding."""
    height, width = image.shape[1], image.shape[2]
    batch = image.unsqueeze(0)
    if preprocess.channels == "BGR":
        batch = batch.flip(1)
    batch = (batch.float() - preprocess.mean) / preprocess.std
    batch = F.pad(batch, (0, -width % preprocess.divisor, 0, -height % preprocess.divisor))
    # counted from the picture itself: a number of Python would become a constant
    sides = (
        torch.ones_like(image[0, :, 0], dtype=torch.int64).sum(),
        torch.ones_like(image[0, 0], dtype=torch.int64).sum(),
    )
    return batch, torch.stack(sides).unsqueeze(0)


def top(scores: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """scores (1, D) of any D -> the best `most` and their places (1, most); LEAST and place 0 where there are fewer."""
    values, index = F.pad(scores, (0, most), value=LEAST).topk(most, dim=1)
    return values, torch.where(values > LEAST, index, 0)


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression within groups: boxes (1, D, 4), scores, groups, valid (1, D) -> (1, D) bool.

    Groups are laid side by side, as in `imbdet.modeling.nms`. What is not valid lies on one place outside and comes
    last, so that it suppresses nothing.
    """
    side = groups.max().add(1).float().sqrt().ceil()
    span = boxes.abs().max() * 2 + 1
    shift = torch.stack((groups % side, torch.div(groups, side, rounding_mode="floor")), dim=2) * span
    placed = torch.where(valid.unsqueeze(2), boxes + shift.repeat(1, 1, 2), boxes.new_tensor([-2.0, -2.0, -1.0, -1.0]))
    index = nms(placed[0], torch.where(valid, scores, LEAST)[0], threshold)
    return torch.zeros_like(valid[0]).index_put((index,), valid.new_ones(())).unsqueeze(0) & valid
