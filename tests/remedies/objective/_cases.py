"""Losses of a step, as leaves with a gradient."""

import torch

NAMES = ("loss_rpn_cls", "loss_rpn_loc", "loss_cls", "loss_box_reg")


def step(*values, names=NAMES):
    """{name: loss}"""
    return {name: torch.tensor(float(v), requires_grad=True) for name, v in zip(names, values, strict=False)}


def gradients(losses, weighted):
    """What each loss is multiplied by: the derivative of the total."""
    sum(weighted.values()).backward()
    return {name: None if loss.grad is None else loss.grad.item() for name, loss in losses.items()}
