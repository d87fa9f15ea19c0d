"""The run folder: may we write there, is it ours to use, and does a resumed run have the config it began with."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..config.difference import judged
from ..config.moved import with_present_names
from ..data.class_names import match_names
from ..runs import BEST, CONFIG, FILES, LAST, METRICS, PREVIOUS, RESULT, TENSORBOARD, RunFolder
from ..write import writing


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
    for name in FILES:
        for path in folder.glob(f".{name}.*.tmp"):  # of a write that was killed
            path.unlink(missing_ok=True)
    if resume:
        return
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
    """Return the config as plain containers, interpolations unresolved: what a checkpoint keeps of it."""
    return OmegaConf.to_container(cfg, resolve=False)


def refuse_other_classes(saved: dict | None, current: dict, folder: Path) -> list[str]:
    """Return lines to be printed about the training data of a resumed run. Raises ValueError if its classes are others,
    in another order or in another number, with both lists.

    saved, current: what the checkpoint carries (None: an older one) and what it would carry now; {} without data.
    """
    if not current:
        return []
    if not saved:
        return [
            f"warning: the checkpoint in {folder} was written before checkpoints carried their classes, so it is"
            " unknown whether the training data still has the same ones in the same order"
        ]
    before, now = saved["class_names"], current["class_names"]
    if len(before) != len(now) or match_names(now, before) != list(range(len(before))):
        raise ValueError(
            f"the run in {folder} learned other classes than the training data has now:\n  learned: "
            + ", ".join(map(repr, before))
            + "\n  now:     "
            + ", ".join(map(repr, now))
            + "\nBring back the classes and their order, or start a new run from its weights, whose classes are matched"
            f" by name: train.init_checkpoint={folder / LAST} and another train.output_dir"
        )
    if saved["data_fingerprint"] != current["data_fingerprint"]:
        return [f"warning: the training data has changed since the run in {folder} began; its classes are the same"]
    return []


def refuse_changes(saved: dict, current: dict, folder: Path) -> list[str]:
    """Return the harmless changes of a resumed run, to be printed. Raises ValueError for the others."""
    forbidden, free = judged(with_present_names(saved), current, "resume")
    if forbidden:
        raise ValueError(
            f"the run in {folder} began with another config; these keys differ:\n  "
            + "\n  ".join(forbidden)
            + f"\nResume with the config it began with (--config {folder / CONFIG} --resume), or start a new run from"
            f" its weights: train.init_checkpoint={folder / LAST} and another train.output_dir"
        )
    return free
