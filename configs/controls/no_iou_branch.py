"""Control: IoU-uniform R-CNN whose score is the class score, without a second pooling."""

baseline = "baselines/faster_rcnn_shapes"
wraps = ("iou_uniform_rois",)
control = True


def apply(cfg):
    cfg.model.roi_heads.iou_branch = False
