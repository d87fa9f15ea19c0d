"""Not a remedy but a control: the Hierarchical Shot Detector's network, classifying before it regresses."""

baseline = "baselines/retinanet_shapes"
wraps = ("hierarchical_shot",)


def apply(cfg):
    cfg.model.shift = False
