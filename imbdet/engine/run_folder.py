"""The run folder: may we write there, is it ours to use, and does a resumed run have the config it began with."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..runs import BEST, CONFIG, LAST, METRICS, PREVIOUS, RESULT, TENSORBOARD, RunFolder
from ..write import writing

#: what a resumed run may change, because no number that it trains with depends on it
FREE = (
    "train.output_dir",
    "train.overwrite",
    "train.init_shared",
    "train.device",
    "train.log_period",
    "train.eval_period",
    "train.checkpointer",
    "train.tensorboard",
    "train.val_loss_batches",
    "train.val_pictures",
    "train.early_stopping",
    "dataloader.train.num_workers",
    "dataloader.val",
    "dataloader.test",
    "data.test",
)


def prepare(folder: Path, resume: bool, overwrite: bool) -> None:
    """Make `folder` and see that it can be written; clear an old run out of it if `overwrite`.

    Raises ValueError if there is a run in it already (and neither resume nor overwrite), OSError if it cannot be
    written.
    """
    with writing(folder, "Choose another place with train.output_dir=..."):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable") as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
    if resume:
        return
    for path in folder.glob(".*.tmp"):  # of a write that was killed
        path.unlink(missing_ok=True)
    found = [name for name in (METRICS, LAST, PREVIOUS, BEST, RESULT) if (folder / name).exists()]
    if found and not overwrite:
        raise ValueError(
            f"{folder} holds a run already ({', '.join(found)}): continue it with --resume, replace it with"
            " train.overwrite=true, or choose another train.output_dir"
        )
    if found:
        clear(folder)


def clear(folder: Path) -> None:
    """Remove the files of a run, and only those."""
    for path in RunFolder(folder).files():
        path.unlink()
    shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)


def plain(cfg: Any) -> dict:
    """The config as plain containers, interpolations unresolved: what a checkpoint keeps of it."""
    return OmegaConf.to_container(cfg, resolve=False)


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """{"train.seed": 0, ...}; lists are values, and tuples are lists, as they are in YAML."""
    if not isinstance(node, dict):
        return {prefix: _listed(node)}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat.update(flatten(value, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _listed(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value


def compare(saved: dict, current: dict) -> tuple[list[str], list[str]]:
    """Lines "key: before -> now" of what may not change in a resumed run, and of what may."""
    before, now = flatten(saved), flatten(current)
    forbidden, free = [], []
    for key in [*before, *(k for k in now if k not in before)]:
        if key in before and key in now and before[key] == now[key]:
            continue
        line = f"{key}: {before.get(key, '(absent)')} -> {now.get(key, '(absent)')}"
        allowed = any(key == name or key.startswith(name + ".") for name in FREE)
        (free if allowed else forbidden).append(line)
    return forbidden, free


def refuse_changes(saved: dict, current: dict, folder: Path) -> list[str]:
    """The harmless changes of a resumed run, to be printed. Raises ValueError for the others."""
    forbidden, free = compare(saved, current)
    if forbidden:
        raise ValueError(
            f"the run in {folder} began with another config; these keys differ:\n  "
            + "\n  ".join(forbidden)
            + f"\nResume with the config it began with (--config {folder / CONFIG} --resume), or start a new run from"
            f" its weights: train.init_checkpoint={folder / LAST} and another train.output_dir"
        )
    return free
