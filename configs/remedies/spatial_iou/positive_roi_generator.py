"""Positive RoI generator: the RoI head's foreground is generated with a wanted distribution over IoU.

The published weights of the bins 0.5, 0.6 ... 0.9; equal ones, model.rpn.weights=[1,1,1,1,1], give uniform IoU. Expect
most for a RoI head whose foreground begins at a high IoU, where the RPN proposes little.
"""

from imbdet.config import rebuilt
from imbdet.remedies.spatial_iou.positive_roi_generator import PositiveRoIGenerator

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.rpn = rebuilt(
        cfg.model.rpn,
        PositiveRoIGenerator,
        count=128,
        bases=[0.5, 0.6, 0.7, 0.8, 0.9],
        weights=[0.73, 0.12, 0.15, 0.05, 0.0],
        limit=0.5,
    )
    cfg.model.roi_heads.append_objects = False
