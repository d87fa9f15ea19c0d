"""Positive RoI generator: the RoI head's foreground is generated with a wanted distribution over IoU.

Equal weights of the bins 0.5, 0.6 ... 0.9 give uniform IoU; model.rpn.weights=[0.73,0.12,0.15,0.05,0] imitates an RPN.
Expect most for a RoI head whose foreground begins at a high IoU, where the RPN proposes little. The objects themselves
are no regions here, as in the authors' baseline: compare with model.roi_heads.append_objects=false, too.
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
        weights=[1.0, 1.0, 1.0, 1.0, 1.0],
        limit=0.5,
    )
    cfg.model.roi_heads.append_objects = False
