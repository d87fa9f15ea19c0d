"""Control: IoU-uniform R-CNN whose box branches learn from the RPN's regions."""

baseline = "baselines/faster_rcnn_shapes"
wraps = ("iou_uniform_rois",)
control = True


def apply(cfg):
    cfg.model.roi_heads.generator = None
