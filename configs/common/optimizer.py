"""Optimizers. The trainer adds `params.model`; norm layers are not decayed, as in detectron2's LazyConfigs."""

import torch

from imbdet.config import LazyCall as L
from imbdet.engine.optimizer import get_default_optimizer_params

SGD = L(torch.optim.SGD)(
    params=L(get_default_optimizer_params)(weight_decay_norm=0.0),
    lr=0.02,  # for 16 images a step
    momentum=0.9,
    weight_decay=1e-4,
)

AdamW = L(torch.optim.AdamW)(
    params=L(get_default_optimizer_params)(weight_decay_norm=0.0),
    lr=1e-4,
    betas=(0.9, 0.999),
    weight_decay=0.05,
)
