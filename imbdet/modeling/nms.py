"""One non-maximum suppression for all images and groups (levels or classes) of a batch, and the best of each image.

Letters: N images, D candidates of one image.
"""

import torch
from torch import Tensor
from torchvision.ops import nms

#: boxes in one call; a GPU compares them all through a bit mask of this number squared / 8 bytes (300 MiB)
LIMIT = 50_000


def batched_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, valid: Tensor, threshold: float, top: int
) -> tuple[Tensor, Tensor]:
    """The best `top` boxes of each image after suppression within each group.

    Args:
        boxes: (N, D, 4) XYXY. scores, groups (int), valid (bool): (N, D). threshold: IoU above which the lower score goes.

    Returns:
        index (N, T) into the D candidates, best first, and kept (N, T) bool; T = min(top, D).
    """
    n, d = scores.shape
    step = max(1, LIMIT // max(1, d))
    keep = torch.zeros(n * d, dtype=torch.bool, device=boxes.device)
    for i in range(0, n, step):
        rows = slice(i, i + step)
        keep[i * d + _nms(boxes[rows], scores[rows], groups[rows], valid[rows], threshold)] = True
    masked = torch.where(keep.view(n, d), scores, -torch.inf)
    value, index = masked.topk(min(top, d), dim=1)
    return index, value > -torch.inf


def _nms(boxes: Tensor, scores: Tensor, groups: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Kept candidates as indices into the flattened (N*D)."""
    n, d = scores.shape
    candidates = valid.reshape(-1).nonzero().squeeze(1)
    flat = boxes.reshape(-1, 4)[candidates]
    number_of_groups = groups.amax() + 1
    cell = (torch.arange(n, device=boxes.device).unsqueeze(1) * number_of_groups + groups).reshape(-1)[candidates]
    # every (image, group) gets its own cell of a square grid: boxes of two cells never meet, and the coordinates stay small,
    # so that float32 loses less than with all cells in one row
    side = (n * number_of_groups).float().sqrt().ceil()
    span = boxes.abs().amax() * 2 + 1
    shift = torch.stack((cell % side, torch.div(cell, side, rounding_mode="floor")), dim=1).to(flat.dtype) * span
    return candidates[nms(flat + shift.repeat(1, 2), scores.reshape(-1)[candidates], threshold)]
