"""Control: the Hierarchical Shot Detector's network, classifying before it regresses."""

baseline = "baselines/retinanet_shapes"
wraps = ("hierarchical_shot",)
control = True


def apply(cfg):
    cfg.model.shift = False
