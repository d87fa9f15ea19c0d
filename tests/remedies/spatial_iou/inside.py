"""Every remedy of an RoI slot, found by discovery, inside of a remedy that replaces the RoI heads.

Also the batches and checks that all such remedies share.
"""

import functools
import warnings

import torch

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.config.lazy import plain
from imbdet.config.remedy import apply_remedies
from imbdet.modeling.count import OperatorCount
from imbdet.remedies import index
from imbdet.structures import RegionStats

SLOTS = {"matcher", "region_sampler", "region_features", "classification", "regression", "weighting"}
BASELINE = "baselines/faster_rcnn_shapes"
SMALL = [
    "data.train.num_images=12",
    "model.roi_heads.box_head.widths=[16]",
    "model.neck.channels=16",
    "model.backbone.widths=[8, 8, 16, 16, 16]",
]


@functools.cache
def remedies_of_roi_slots():
    names = {entry.name for entry in index.entries() if entry.slots and entry.fits(BASELINE, SLOTS)}
    return sorted(names)


@functools.cache
def with_remedies(*names):
    """Config and what was applied; cached, as reading a config takes longer than a training step. Only to be read."""
    if not names:
        return load_config(BASELINE, overrides=SMALL), []
    return apply_remedies(*with_remedies(*names[:-1]), names[-1:], BASELINE)


def detector(*remedies, words=(), seed=0):
    """A small Faster R-CNN on shapes with 10 classes."""
    cfg = load_config(BASELINE, remedies, [*SMALL, *words]) if words else with_remedies(*remedies)[0]
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the cascade's ious are not used")
        return instantiate(cfg.model)


def check_in_either_order(name, structural, before=("cls_score.bias",)):
    """The same config in either order of --remedy; two steps of training change every parameter that ends so."""
    assert plain(with_remedies(structural, name)[0].model) == plain(with_remedies(name, structural)[0].model)
    model = detector(structural, name)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    start = {k: v.clone() for k, v in model.roi_heads.named_parameters() if k.endswith(tuple(before))}
    for step in range(2):
        losses, _ = model.train()(*testing.batch(3, 1, size=64, seed=step))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        assert all(torch.isfinite(v) for v in losses.values())
    after = dict(model.roi_heads.named_parameters())
    assert start and all(not torch.equal(start[k], after[k]) for k in start)
    with torch.no_grad():
        model.eval()(testing.batch(1, size=64)[0])


#: how many objects in each image, or what is special; whether in bfloat16
KINDS = [((0, 0), False), ((1,), False), ((1, 0, 3), False), ((300,), False), ("2 pixels", False), ((1, 0), True)]


def batch_of(kind):
    if kind != "2 pixels":
        return testing.batch(*kind, size=64)
    images, _ = testing.batch(0, size=64)
    corner = torch.randint(0, 62, (12, 2), generator=torch.Generator().manual_seed(0)).float()
    return images, [{"boxes": torch.cat((corner, corner + 2), dim=1), "labels": torch.arange(12) % 10}]


def check_trains_and_detects(model, kind, half):
    """Finite losses and gradients, one for every parameter; detections inside of the image."""
    images, targets = batch_of(kind)
    model.train().zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        losses, stats = model(images, targets)
    sum(losses.values()).backward()
    assert all(v.dtype == torch.float32 and torch.isfinite(v) for v in losses.values())
    without = [name for name, p in model.named_parameters() if p.grad is None and p.requires_grad]
    assert not without, f"no gradient, which DistributedDataParallel refuses: {without}"
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert all(isinstance(v, RegionStats) or not v.requires_grad for v in stats.values())
    if not any(len(target["labels"]) for target in targets):
        assert all(v == 0 for name, v in losses.items() if "box_reg" in name)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = model.eval()(images)
    assert all(torch.isfinite(d["boxes"]).all() and d["boxes"].max() <= 64 for d in found if len(d["boxes"]))
    return losses


def count_operators(model):
    """Of a training step's forward at 2 and 8 images."""
    counts = []
    for n in (2, 8):
        batch = testing.batch(*[3] * n, size=64)
        with OperatorCount() as count:
            model.train()(*batch)
        counts.append(count)
    assert counts[1].operators <= counts[0].operators + 60  # rounds of suppression may differ
    return counts
