"""Regions for the tests of this folder: flat batches with chosen labels, IoUs and objects.

Letters: N images, A regions of one image, K classes.
"""

import torch

from imbdet.modeling.boxes import BoxCoder
from imbdet.structures import Matched
from tests.modeling.test_boxes import random_boxes

K = 3


def batch(labels, iou=None, objects=None, boxes=None, targets=None, deltas=None):
    """labels (N, A) lists -> Matched of K classes; what is not given is random (boxes) or 0."""
    labels = torch.as_tensor(labels)
    n, a = labels.shape
    flat = labels.reshape(-1)
    foreground = ((flat >= 0) & (flat < K)).unsqueeze(1)
    boxes = random_boxes(n * a) if boxes is None else torch.as_tensor(boxes, dtype=torch.float32).view(-1, 4)
    targets = random_boxes(n * a, seed=1) if targets is None else torch.as_tensor(targets).float().view(-1, 4)
    image = torch.arange(n).repeat_interleave(a)
    return Matched(
        labels=flat,
        objects=image if objects is None else torch.as_tensor(objects).reshape(-1),
        iou=torch.zeros(n * a) if iou is None else torch.as_tensor(iou, dtype=torch.float32).reshape(-1),
        images=image,
        levels=torch.zeros(n * a, dtype=torch.long),
        boxes=boxes,
        targets=torch.where(foreground, targets, boxes),
        num_classes=K,
        num_images=n,
        deltas=torch.zeros(n * a, 4) if deltas is None else deltas,
        box_coder=BoxCoder(),
    )
