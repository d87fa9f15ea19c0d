"""Whole detectors: `losses, stats = model(images, targets)` in training, `model(images)` -> detections in eval.

Input and output are torchvision's: lists of tensors and of dicts with `boxes`, `labels`, `scores`.
"""

from .faster_rcnn import FasterRCNN
from .retinanet import RetinaNet

__all__ = ["FasterRCNN", "RetinaNet"]
