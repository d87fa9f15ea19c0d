"""Control: spatial dropout whose adversary stays, in the joint phase, what its own phase made it."""

baseline = "baselines/faster_rcnn_shapes"
wraps = ("adversarial_spatial_dropout",)
control = True


def apply(cfg):
    cfg.model.roi_heads.region_features.weight = 0.0
