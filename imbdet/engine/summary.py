"""What is said, and refused, before the first step: the data, the checks, the length of the run, the size of the
model.
"""

import difflib
from typing import Any

import torch
from torch import Tensor

from ..config import instantiate
from ..data.checks.run import check_before_training
from ..data.loader import TrainLoader
from ..data.statistics import describe, frequency_groups
from ..slots import Slot
from .build import Built
from .environment import computes_bfloat16
from .meters import GROUPS
from .validation import known_metrics

LONG_WARMUP = 0.5  # a larger share of the training is said


def group_of_classes(records: Any) -> tuple[Tensor, str]:
    """Return (K,) int64, 0 rare, 1 common, 2 frequent, -1 none (no boxes), and the rule in words."""
    groups = frequency_groups(records)
    number = torch.full((records.num_classes,), -1, dtype=torch.int64)
    for index, name in enumerate(GROUPS):
        number[list(groups.labels[name])] = index
    return number, groups.rule


def splits(cfg: Any, built: Built) -> dict[str, Any]:
    """Return the splits of the config by name, as records."""
    found = {
        name: instantiate(cfg.data[name])
        for name in ("train", "val")
        if "data" in cfg and cfg.data.get(name) is not None
    }
    found.setdefault("train", built.train_records)
    if built.val_records is not None:
        found.setdefault("val", built.val_records)
    return {name: records for name, records in found.items() if hasattr(records, "class_counts")}


def check_data(records: dict[str, Any]) -> None:
    """Run the cheap part of the data checks; log what is worth knowing. Raises ValueError with all errors at once."""
    if records:
        first, *others = records.values()
        check_before_training(first, *others)


def describe_data(records: dict[str, Any], say: Any) -> None:
    """Describe the data: images, images without objects, boxes per class; the frequency groups of the training set."""
    for split in records.values():
        say(describe(split))
    if "train" in records:
        say(f"class groups: {group_of_classes(records['train'])[1]}")


def check_best_metric(built: Built) -> None:
    """Raise ValueError before the first step for a `train.best_metric` that no evaluation will have."""
    name, known = built.settings.best_metric, known_metrics(built)
    if built.val_loader is not None and name not in known and "/" not in name:
        near = difflib.get_close_matches(name, known, 1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"there are {', '.join(known[:16])}, a class's name, or loss/total"
        )
        raise ValueError(f"train.best_metric is {name!r}, which is not a metric of the evaluation; {hint}")


def describe_run(built: Built, say: Any) -> None:
    """Describe the run: model, batch, length in iterations and epochs."""
    settings = built.settings
    if isinstance(built.train_loader, TrainLoader):
        say(f"batches from {built.train_loader.describe()}")
    trained = sum(p.numel() for p in [*built.parameters, *built.adversaries.parameters])
    total = sum(p.numel() for p in built.model.parameters())
    say(f"model: {type(built.model).__name__}, {total / 1e6:.2f} M parameters, {trained / 1e6:.2f} M of them train")
    for name, part in built.model.named_modules():
        said = part.describe() if isinstance(part, Slot) else ""
        if said:
            say(f"{name}: {said}")
    length = f"{settings.max_iter} iterations"
    epoch = epoch_length(built)
    if epoch:
        length += f" = {settings.max_iter / epoch:.2f} epochs of {epoch:g} iterations"
    threads = f", {torch.get_num_threads()} threads" if built.device.type == "cpu" else ""
    processes = f", {built.world.size} processes" if built.world.size > 1 else ""
    step = f", {settings.accumulate} batches a step" if settings.accumulate > 1 else ""
    say(f"length: {length}{step}; on {built.device}{threads}{processes}, seed {settings.seed}")
    if built.device.type == "cpu" and not settings.amp.enabled and computes_bfloat16():
        say(
            "this processor computes bfloat16: train.amp.enabled=true train.amp.dtype=bfloat16 makes a step shorter;"
            " compare such runs with each other only"
        )
    if not built.has_val:
        say("the config has no dataloader.val: nothing is evaluated, and there will be no best.pth")
    elif settings.eval_period:
        say(f"evaluation every {settings.eval_period} iterations; best.pth by {settings.best_metric}")


def describe_warmup(built: Built, say: Any) -> None:
    """Warn where most of the training would be warm-up: a config's length of it, kept for a shorter run."""
    share = getattr(built.schedule.multiplier, "length", 0.0)
    if share > LONG_WARMUP:
        say(
            f"warning: the warm-up takes {share:.0%} of the training, so its learning rate is hardly ever what the "
            "config says; for a short run, set a shorter lr_multiplier.warmup_length"
        )


def epoch_length(built: Built) -> float | None:
    """Return iterations of an epoch (steps of the optimizer), if the loader knows."""
    length = getattr(built.train_loader, "epoch_length", None)
    return length / built.settings.accumulate if length else None
