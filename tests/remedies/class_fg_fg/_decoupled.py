"""What the second stages of decoupled training share: a detector of a remedy's config, and one step of it."""

import functools

import torch

from imbdet import testing
from imbdet.config import instantiate, load_config

WORDS = ["data.train.num_images=12", "model.backbone.widths=[8,8,8,8,8]", "model.neck.channels=8"]


@functools.cache
def config(baseline, remedy, classes=10):
    """Shared, so only to be read."""
    cfg = load_config(baseline, [remedy] if remedy else [], WORDS)
    cfg.model.num_classes = classes
    return cfg


def detector(baseline, remedy, classes=10, seed=0):
    """The remedy's detector with what it freezes, ready to train."""
    cfg = config(baseline, remedy, classes)
    torch.manual_seed(seed)
    model = instantiate(cfg.model)
    model.freeze(list(cfg.train.freeze))
    return model.train()


def changed_by_a_step(model):
    """Names of the entries of the state dict that one step with much weight decay changes."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses, _ = model(*testing.batch(3, 1, size=64, num_classes=model.num_classes))
    sum(losses.values()).backward()
    torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5).step()
    return {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}
