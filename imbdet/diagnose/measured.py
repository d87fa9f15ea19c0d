"""One look at a trained detector as it would be trained on: who makes the loss and the gradient, stage by stage.

Notable: the model sees a few training images in training mode, without its weights or its running means being touched;
a hook on every criterion reads what went in and what came out. So sections 2, 5 and 8 have the numbers of every stage
that the detector has, whatever it is made of.

Letters: R regions of the batch, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data.records import Records
from ..data.statistics import GROUPS, frequency_groups
from ..modeling.boxes import paired_iou
from ..modeling.criterion import Criterion

IMAGES = 24  #: training images that are looked at
BATCH = 2
EDGES = np.linspace(0, 1, 21)


def measure(model: nn.Module, records: Records, resize: Callable | None, images: int = IMAGES) -> list[dict[str, Any]]:
    """Return what each criterion sees on images evenly through the split that hold objects; flips and the like are left
    out.

    Returns:
        a dict a criterion, in order: name; images; positives, negatives and ignored per image; "loss" and "gradient":
        {"classification": {"background", "foreground", groups}, "regression": {groups}} shares of the sums (gradient:
        absolute values at the logits or deltas); "tasks": {loss: {"loss", "gradient"} shares of the two losses}; "iou":
        {"edges", "before", "after": counts, "before_mean", "after_mean", "before_below", "after_below"}.
    """
    seen: dict[str, list] = {}
    names = {id(m): n.removesuffix("criterion").strip(".") or "detector" for n, m in model.named_modules()}
    groups = frequency_groups(records)
    group_of = np.array([GROUPS.index(groups.of(k)) if groups.of(k) else -1 for k in range(records.num_classes)])
    hooks = [
        module.register_forward_hook(
            lambda m, given, made: seen.setdefault(names[id(m)], []).append(_read(m, given, made))
        )
        for module in model.modules()
        if isinstance(module, Criterion)
    ]
    modes = [(module, module.training) for module in model.modules()]
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    try:
        model.train()
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            for batch in _batches(records, resize, images):
                model(*batch)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(buffers[name])
    return [_sum(name, parts, group_of) for name, parts in seen.items()]


def _batches(records: Records, resize: Callable | None, images: int):
    holding = np.unique(records.object_image[~records.crowd])
    chosen = holding[np.unique(np.linspace(0, len(holding) - 1, min(images, len(holding))).round().astype(int))]
    rng = np.random.default_rng(0)
    for start in range(0, len(chosen), BATCH):
        pictures, targets = [], []
        for index in chosen[start : start + BATCH].tolist():
            picture, target = records.images[index], records.target(index)
            if resize is not None:
                picture, target = resize(picture, target, rng)
            pictures.append(picture)
            targets.append(target)
        yield pictures, targets


def _read(criterion: Criterion, given: tuple, made: tuple) -> dict[str, Any]:
    """Plain arrays of one call: given (logits, deltas, matched), made (losses, stats)."""
    logits, deltas, matched = given[:3]
    losses, stats = made
    regions = stats["regions"]
    gradients = []
    for loss, tensor in zip(losses.values(), (logits, deltas), strict=True):
        gradient = None
        if loss.requires_grad and tensor.requires_grad:
            gradient = torch.autograd.grad(loss, tensor, retain_graph=True, allow_unused=True)[0]
        gradient = torch.zeros_like(tensor) if gradient is None else gradient
        gradients.append(gradient.detach().abs().flatten(1).sum(dim=1).double().numpy())
    labels = matched.labels.numpy()
    foreground = matched.foreground
    positive = matched.take(foreground.nonzero().flatten())
    after = paired_iou(regions.decoded()[foreground], positive.targets)
    return {
        "labels": labels,
        "num_classes": matched.num_classes,
        "images": matched.num_images,
        "loss": [regions.classification.double().numpy(), regions.regression.double().numpy()],
        "gradient": gradients,
        "losses": [float(loss.detach()) for loss in losses.values()],
        "names": list(losses),
        "before": positive.iou.numpy(),
        "after": after.detach().numpy(),
    }


def _sum(name: str, parts: list[dict[str, Any]], group_of: np.ndarray) -> dict[str, Any]:
    labels = np.concatenate([part["labels"] for part in parts])
    k, images = parts[0]["num_classes"], sum(part["images"] for part in parts)
    foreground = (labels >= 0) & (labels < k)
    where = {"background": labels == k, "foreground": foreground}
    if k == len(group_of) and k > 1:
        group = np.full(len(labels), -1)
        group[foreground] = group_of[labels[foreground]]
        where |= {word: group == i for i, word in enumerate(GROUPS)}
    result: dict[str, Any] = {
        "name": name,
        "images": images,
        "positives": float(foreground.sum() / images),
        "negatives": float((labels == k).sum() / images),
        "ignored": float((labels < 0).sum() / images),
    }
    for what in ("loss", "gradient"):
        columns = [np.concatenate([part[what][i] for part in parts]) for i in range(2)]
        result[what] = {
            task: {word: _share(column[mask].sum(), column.sum()) for word, mask in where.items()}
            for task, column in zip(("classification", "regression"), columns, strict=True)
        }
    values = np.array([part["losses"] for part in parts]).mean(axis=0)
    pulls = [sum(float(part["gradient"][i].sum()) for part in parts) for i in range(2)]
    result["tasks"] = {
        loss: {"value": float(value), "loss": _share(value, values.sum()), "gradient": _share(pull, sum(pulls))}
        for loss, value, pull in zip(parts[0]["names"], values, pulls, strict=True)
    }
    before, after = (np.concatenate([part[when] for part in parts]) for when in ("before", "after"))
    result["iou"] = {
        "edges": EDGES.tolist(),
        "before": np.histogram(before.clip(0, 1), EDGES)[0].tolist(),
        "after": np.histogram(after.clip(0, 1), EDGES)[0].tolist(),
        "before_mean": _mean(before),
        "after_mean": _mean(after),
        "before_below": _mean(before < 0.5),
        "after_below": _mean(after < 0.5),
    }
    return result


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
