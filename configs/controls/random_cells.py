"""Control: spatial dropout that hides as many cells, drawn at random instead of by an adversary.

The phases are the same: the detector rests as long, and sees the same batches.
"""

baseline = "baselines/faster_rcnn_shapes"
wraps = ("adversarial_spatial_dropout",)
control = True


def apply(cfg):
    cfg.model.roi_heads.region_features.network = None
