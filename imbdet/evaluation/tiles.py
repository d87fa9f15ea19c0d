"""Detections on tiles, put together for the whole picture.

Notable: where tiles overlap, an object is found more than once, and the boxes are suppressed within each class as the
detector does it within a tile. A part of an object that a tile cuts overlaps the whole of it by little, so that it may
stay as a false alarm: let tiles overlap by the size of the objects. A picture of one tile is left as it is.

Letters: D detections.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms


def merge(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, limit: int) -> Tensor:
    """Return indices of the detections of one picture that stay, best first.

    Args:
        boxes: (D, 4) XYXY in pixels of the picture. scores, labels: (D,). threshold: IoU within a class above which the
            lower score goes. limit: how many stay at most.
    """
    kept = torch.zeros(len(scores), dtype=torch.bool)
    for label in labels.unique():
        mine = torch.nonzero(labels == label)[:, 0]
        kept[mine[nms(boxes[mine], scores[mine], threshold)]] = True
    index = torch.nonzero(kept)[:, 0]
    return index[torch.argsort(scores[index], descending=True, stable=True)][:limit]


def merge_images(
    columns: dict[str, np.ndarray], tiled: Collection[int], threshold: float, limit: int
) -> dict[str, np.ndarray]:
    """Return the columns "image_id", "label", "score", "xywh" of many pictures, those with the ids `tiled` merged."""
    ids = columns["image_id"]
    kept = ~np.isin(ids, np.fromiter(tiled, np.int64, len(tiled)))
    order = np.argsort(ids, kind="stable")
    cuts = np.flatnonzero(np.diff(ids[order])) + 1
    for mine in np.split(order, cuts):
        if not len(mine) or kept[mine[0]]:
            continue
        xyxy = columns["xywh"][mine]
        xyxy = np.hstack([xyxy[:, :2], xyxy[:, :2] + xyxy[:, 2:]])
        parts = (torch.from_numpy(part) for part in (xyxy, columns["score"][mine], columns["label"][mine]))
        kept[mine[merge(*parts, threshold, limit).numpy()]] = True
    return {name: values[kept] if name != "seen" else values for name, values in columns.items()}
