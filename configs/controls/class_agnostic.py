"""Control: one set of box deltas for all classes, as Cascade R-CNN and IoU-uniform R-CNN have it."""

baseline = "baselines/faster_rcnn_shapes"
control = True


def apply(cfg):
    cfg.model.roi_heads.class_agnostic = True
