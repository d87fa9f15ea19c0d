"""What matchers that see the predictions share. Letters: N images, M objects, A regions of one image, K classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...modeling.boxes import pairwise_iou
from ...structures import Matched, Objects


@dataclass
class Seen:
    """points (N, A, 2); levels (N, A); score (N, M, A) of each object's class; iou (N, M, A) of the predicted boxes
    with the objects, 0 for padding; anchor_iou (N, M, A) of the regions themselves.
    """

    points: Tensor
    levels: Tensor
    score: Tensor
    iou: Tensor
    anchor_iou: Tensor


def look(matched: Matched, objects: Objects, logits: Tensor, outputs: Tensor, criterion) -> Seen:
    """Map the arguments of `Matcher.rematch` -> what it ranks."""
    n, m = objects.labels.shape
    regions = matched.boxes.view(n, -1, 4)
    scores = criterion.scores(logits).view(n, regions.shape[1], -1)
    boxes = criterion.boxes(outputs, matched.boxes).view(n, -1, 4)
    own = scores.gather(2, objects.labels.unsqueeze(1).expand(-1, scores.shape[1], -1)).transpose(1, 2)
    valid = objects.valid.unsqueeze(2)
    return Seen(
        points=(regions[..., :2] + regions[..., 2:]) / 2,
        levels=matched.levels.view(n, -1),
        score=own,
        iou=torch.where(valid, pairwise_iou(objects.boxes, boxes).nan_to_num(nan=0.0), 0.0),
        anchor_iou=torch.where(valid, pairwise_iou(objects.boxes, regions), 0.0),
    )
