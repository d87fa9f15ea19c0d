"""Boxes: XYXY float32, absolute pixels, x2 and y2 exclusive (no +1 anywhere); the delta code of R-CNN.

Letters: N images, M objects, A regions of one image, R regions of the batch.
"""

import math

import torch
from torch import Tensor

#: exp() of a size delta is clamped here, as in detectron2: an anchor of 16 px grows to 1000 px at most
SCALE_CLAMP = math.log(1000.0 / 16)


class BoxCoder:
    """Deltas (dx, dy, dw, dh) between a region and a box, each multiplied by its weight (Girshick et al., 2014,
    appendix C).

    Args:
        weights: four factors; detectron2 takes (1, 1, 1, 1) for anchors and (10, 10, 5, 5) for RoIs.
    """

    def __init__(self, weights=(1.0, 1.0, 1.0, 1.0)):
        self.weights = tuple(float(w) for w in weights)
        if len(self.weights) != 4 or min(self.weights) <= 0:
            raise ValueError(f"box coder weights must be four positive numbers, got {weights}")

    def encode(self, regions: Tensor, boxes: Tensor) -> Tensor:
        """Map regions (..., 4), boxes (..., 4) -> deltas (..., 4)."""
        rx, ry, rw, rh = _center_size(regions)
        bx, by, bw, bh = _center_size(boxes)
        wx, wy, ww, wh = self.weights
        tiny = torch.finfo(rw.dtype).tiny  # a region without extent gives large but finite deltas
        rw, rh, bw, bh = (t.clamp(min=tiny) for t in (rw, rh, bw, bh))
        deltas = (wx * (bx - rx) / rw, wy * (by - ry) / rh, ww * torch.log(bw / rw), wh * torch.log(bh / rh))
        return torch.stack(deltas, dim=-1)

    def decode(self, deltas: Tensor, regions: Tensor) -> Tensor:
        """Map deltas (..., 4), regions (..., 4) -> boxes (..., 4)."""
        rx, ry, rw, rh = _center_size(regions)
        wx, wy, ww, wh = self.weights
        dx, dy, dw, dh = deltas.unbind(dim=-1)
        cx, cy = rx + rw * dx / wx, ry + rh * dy / wy
        w = rw * torch.exp((dw / ww).clamp(max=SCALE_CLAMP))
        h = rh * torch.exp((dh / wh).clamp(max=SCALE_CLAMP))
        return torch.stack((cx - 0.5 * w, cy - 0.5 * h, cx + 0.5 * w, cy + 0.5 * h), dim=-1)


def _center_size(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    w, h = x2 - x1, y2 - y1
    return x1 + 0.5 * w, y1 + 0.5 * h, w, h


def area(boxes: Tensor) -> Tensor:
    """Map (..., 4) -> (...)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Map a (..., M, 4), b (..., A, 4) -> (..., M, A); 0 where the two do not overlap."""
    a, b = a.unsqueeze(-2), b.unsqueeze(-3)
    width = torch.minimum(a[..., 2], b[..., 2]).sub_(torch.maximum(a[..., 0], b[..., 0])).clamp_(min=0)
    height = torch.minimum(a[..., 3], b[..., 3]).sub_(torch.maximum(a[..., 1], b[..., 1])).clamp_(min=0)
    intersection = width.mul_(height)
    union = (area(a) + area(b)).sub_(intersection)
    return intersection.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))  # 0 / tiny for boxes without area


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """Map a (..., 4), b (..., 4) -> (...): IoU row by row, 0 for boxes without area."""
    width = (torch.minimum(a[..., 2], b[..., 2]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    height = (torch.minimum(a[..., 3], b[..., 3]) - torch.maximum(a[..., 1], b[..., 1])).clamp(min=0)
    intersection = width * height
    union = area(a) + area(b) - intersection
    return torch.where(intersection > 0, intersection / union, 0.0)


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Return boxes (N, A, 4) into images of sizes (N, 2) height, width; NaN becomes 0.

    A run that diverges must reach the check of its loss, and pooling at NaN reads outside of memory.
    """
    limit = sizes.to(boxes.dtype).flip(-1).repeat(1, 2).unsqueeze(1)
    return torch.minimum(boxes.nan_to_num(nan=0.0).clamp(min=0), limit)
