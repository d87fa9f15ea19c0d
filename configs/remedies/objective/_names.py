"""The losses of a detector, as its criteria name them."""


def loss_names(cfg):
    """["loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg"] in two stages, the last two in one."""
    return [*(["loss_rpn_cls", "loss_rpn_loc"] if "rpn" in cfg.model else []), "loss_cls", "loss_box_reg"]
