"""Regions for the tests of this folder: flat batches with chosen labels, IoUs and objects.

Letters: N images, A regions of one image, K classes.
"""

import torch

from imbdet.testing import random_boxes
from tests.helpers import K, regions

__all__ = ["K", "batch", "with_iou"]


def batch(labels, iou=None, objects=None, targets=None, **given):
    """labels (N, A) -> Matched of K classes, with IoU 0 and one object an image where nothing else is given."""
    n, a = torch.as_tensor(labels).shape
    given["iou"] = torch.zeros(n * a) if iou is None else iou
    given["objects"] = torch.arange(n).repeat_interleave(a) if objects is None else objects
    given["targets"] = random_boxes(n * a, seed=1) if targets is None else targets
    return regions(labels, **given)


def with_iou(labels, iou):
    """Regions of which the regressed box (no shift) overlaps its 100 x 100 object by `iou`, a part of its width."""
    boxes = [[0, 0, 100 * x, 100] for x in iou]
    return batch([labels], boxes=boxes, targets=[[0, 0, 100, 100]] * len(labels))
