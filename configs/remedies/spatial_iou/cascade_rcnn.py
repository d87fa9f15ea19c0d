"""Cascade R-CNN: three RoI heads in a row, for IoU 0.5, 0.6 and 0.7, each on the boxes of the one before.

Expect higher AP at high IoU, AP50 about as before, and a training step with three times the work of the RoI head.
"""

from imbdet.config import rebuilt
from imbdet.remedies.spatial_iou.cascade_rcnn import CascadeRoIHeads

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.roi_heads = rebuilt(
        cfg.model.roi_heads,
        CascadeRoIHeads,
        drop=["class_agnostic"],
        ious=[0.5, 0.6, 0.7],
        box_weights=[[10.0, 10.0, 5.0, 5.0], [20.0, 20.0, 10.0, 10.0], [30.0, 30.0, 15.0, 15.0]],
        loss_weights=None,  # the authors: [1.0, 0.5, 0.25], with gradient_scale 1.0
        gradient_scale=None,
        keep_objects=True,
        score_last=False,
    )
