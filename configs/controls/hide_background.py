"""Control: spatial dropout that hides cells of background, too, so that they tell nothing."""

baseline = "baselines/faster_rcnn_shapes"
wraps = ("adversarial_spatial_dropout",)
control = True


def apply(cfg):
    cfg.model.roi_heads.region_features.background = True
