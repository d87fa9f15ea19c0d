"""Not a remedy but a part taken away: IoU-uniform R-CNN whose score is the class score, without a second pooling."""

baseline = "baselines/faster_rcnn_shapes"
wraps = ("iou_uniform_rois",)


def apply(cfg):
    cfg.model.roi_heads.iou_branch = False
