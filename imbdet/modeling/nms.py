"""Non-maximum suppression of a whole batch within groups (levels or classes), and the best of each image.

Two ways with one result: few boxes are compared within their groups all at once, many go through torchvision's kernel,
which compares across groups too and so costs more the more groups share a call.
Letters: N images, D candidates of one image, G groups.
"""

import torch
from torch import Tensor
from torchvision.ops import nms

from .boxes import pairwise_iou

#: boxes in one call of the kernel; a GPU compares them all through a bit mask of this number squared / 8 bytes (300
# MiB)
LIMIT = 50_000
#: the same on a CPU at test, where a call costs nothing and comparing boxes of different images does
LIMIT_CPU = 1_500
#: pairs that are compared at once without the kernel
PAIRS = 4 * 2**20


def suppress(
    boxes: Tensor, scores: Tensor, groups: Tensor, valid: Tensor, threshold: float, limit: int = LIMIT
) -> Tensor:
    """Suppress within each group and return which candidates stay: (N, D) bool.

    Args:
        boxes: (N, D, 4) XYXY. scores, groups (int), valid (bool): (N, D). threshold: IoU above which the lower score
            goes. limit: candidates in one call of the kernel.
    """
    n, d = scores.shape
    step = max(1, limit // max(1, d))
    keep = torch.zeros(n * d, dtype=torch.bool, device=boxes.device)
    for i in range(0, n, step):
        rows = slice(i, i + step)
        keep[i * d + _kernel(boxes[rows], scores[rows], groups[rows], valid[rows], threshold)] = True
    return keep.view(n, d)


def limit_at_test(boxes: Tensor) -> int:
    """Return `limit` of `suppress` at test on the device of `boxes`."""
    return LIMIT_CPU if boxes.device.type == "cpu" else LIMIT


def best(scores: Tensor, keep: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Map scores (N, D), keep (N, D) bool -> index (N, T) of the best `top` kept ones, and which of them are real (N,
    T).
    """
    value, index = torch.where(keep, scores, -torch.inf).topk(min(top, scores.shape[1]), dim=1)
    return index, value > -torch.inf


def pairwise_nms(boxes: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Return suppression within each of G groups whose boxes are sorted, best first.

    A box goes if a better one that stays overlaps it. Starting from "all stay", that sentence is applied until nothing
    changes, which gives what the greedy loop gives (Zheng et al., 2020, arXiv 2005.03572, proposition 1) after as many
    rounds as the longest chain of boxes that overlap is long: 2 to 8 in practice.

    Args:
        boxes: (G, D, 4) XYXY. valid: (G, D) bool. threshold: IoU.

    Returns:
        (G, D) bool.
    """
    overlaps = torch.triu(pairwise_iou(boxes, boxes) > threshold, diagonal=1)
    keep = valid
    while True:
        stays = valid & ~(overlaps & keep.unsqueeze(2)).any(dim=1)
        if torch.equal(stays, keep):
            return keep
        keep = stays


def _kernel(boxes: Tensor, scores: Tensor, groups: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Kept candidates as indices into the flattened (N*D)."""
    n, _ = scores.shape
    candidates = valid.reshape(-1).nonzero().squeeze(1)
    flat = boxes.reshape(-1, 4)[candidates]
    number_of_groups = groups.amax() + 1
    image = torch.arange(n, device=boxes.device).unsqueeze(1)
    cell = (image * number_of_groups + groups).reshape(-1)[candidates]
    # every (image, group) gets its own cell of a square grid: boxes of two cells never meet, and the coordinates stay
    # small, so that float32 loses less than with all cells in one row
    side = (n * number_of_groups).float().sqrt().ceil()
    span = boxes.abs().amax() * 2 + 1
    shift = torch.stack((cell % side, torch.div(cell, side, rounding_mode="floor")), dim=1).to(flat.dtype) * span
    return candidates[nms(flat + shift.repeat(1, 2), scores.reshape(-1)[candidates], threshold)]
