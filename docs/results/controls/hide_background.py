"""Not a remedy but a variant: spatial dropout that hides cells of background, too, so that they tell nothing."""

baseline = "baselines/faster_rcnn_shapes"
wraps = ("adversarial_spatial_dropout",)


def apply(cfg):
    cfg.model.roi_heads.region_features.background = True
