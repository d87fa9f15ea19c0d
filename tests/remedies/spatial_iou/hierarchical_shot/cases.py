"""A small Hierarchical Shot Detector and what to put into it."""

import torch

from imbdet.config import instantiate, load_config

BASE = "baselines/retinanet_shapes"
SMALL = ["model.backbone.widths=[8, 12, 12, 16, 16]", "model.neck.channels=8"]


def build(*overrides, num_classes=10):
    cfg = load_config(BASE, ["hierarchical_shot"], [*SMALL, *overrides])
    cfg.model.num_classes = num_classes
    torch.manual_seed(0)
    return instantiate(cfg.model)


def moved(model, deviation=0.05):
    """The same detector with weights that really move the taps and the boxes."""
    torch.manual_seed(1)
    with torch.no_grad():
        for step in model.steps:
            for layer in [*step.regress, *(look.taps for look in step.look)]:
                layer.weight.normal_(std=deviation)
    return model


def maps_of(model, batch=2, size=64):
    """Maps of the neck, sizes of the pictures."""
    x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(2))
    return model.neck(model.backbone(x)), torch.full((batch, 2), size)
