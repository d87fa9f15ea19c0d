"""IoU-uniform R-CNN: regression and a prediction of IoU learn from boxes generated with uniform IoU.

Expect better placed boxes and scores that follow the placement. Its parts can be taken away one by one:
model.roi_heads.generator=null, model.roi_heads.iou_branch=false, model.roi_heads.separate_head=false.
"""

from imbdet.config import LazyCall as L
from imbdet.config import rebuilt
from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_iou._box_generator import UniformBoxes
from imbdet.remedies.spatial_iou.iou_uniform_rois import IoUUniformRoIHeads

baseline = "baselines/faster_rcnn_shapes"


def apply(cfg):
    cfg.model.roi_heads = rebuilt(
        cfg.model.roi_heads,
        IoUUniformRoIHeads,
        drop=["class_agnostic"],
        generator=L(UniformBoxes)(per_object=64, low=0.5, high=1.0),
        per_image=None,  # as many generated boxes as there are sampled regions
        iou_branch=True,
        separate_head=True,
        bin_weights=[1.0, 1.5, 2.0, 3.0],
        iou_weight=1.0,
        beta=0.5,
        regression=L(SmoothL1)(beta=1.0),  # what the bin weights are made for
        score_threshold="${model.score_threshold}",  # for the class score, before the IoU is multiplied in
    )
