"""Control: no object itself is a region of the RoI head, as with positive_roi_generator."""

baseline = "baselines/faster_rcnn_shapes"
control = True


def apply(cfg):
    cfg.model.roi_heads.append_objects = False
