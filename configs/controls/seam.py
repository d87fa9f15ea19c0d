"""Control: class-targeted copy-paste that pastes background, at the same rate and in the same sizes.

What it gains or loses comes from the edges of the rectangles and from what they cover, not from rare objects.
"""

baseline = "baselines/faster_rcnn_shapes"
wraps = ("class_targeted_copy_paste",)
control = True


def apply(cfg):
    cfg.dataloader.train.mix.background = True
