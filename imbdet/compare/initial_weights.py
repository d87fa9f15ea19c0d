"""The same initial weights for all arms of a seed.

Seeding alone does not make them equal: a remedy that adds or removes a layer shifts every random
number drawn after it. So the entries that the baseline draws are written once for each seed, and every arm starts from
them. An entry is random if two seeds give it different values. Only what is random in the baseline and in the arm, with
the same name, shape and spread, is shared; all else stays as the arm makes it: the bias of a classification (a constant
of its prior), batch norm, pretrained weights, and a layer that a remedy draws more narrowly on purpose.
"""

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from ..config import instantiate
from ..engine.checkpoint import load_file, save_file
from ..engine.origin import training_records
from ..engine.run_folder import plain
from ..engine.seed import preserved_rng
from ..engine.settings import read_settings
from ..engine.weights import TRAINED, initialize
from ..modeling.trainable import entries_to_reset
from .structures import folder_name

OTHER = 1_000_003  #: added to a seed, it gives the second draw that tells random entries from constants


def initial_state(cfg: DictConfig, seed: int) -> dict[str, Tensor]:
    """Return the state a run of `cfg` begins with: model built from `seed`, `train.init_checkpoint` loaded."""
    settings = read_settings(cfg)
    with preserved_rng(seed):
        model = instantiate(cfg.model)
        anew = entries_to_reset(model, settings.reset)
        initialize(model, settings, getattr(training_records(cfg), "class_names", ()), lambda line: None, anew)
        model.load_state_dict(anew, strict=False)
    return model.state_dict()


def drawn_entries(cfg: DictConfig, seed: int) -> dict[str, Tensor]:
    """Return the part of the initial state that depends on the seed."""
    state, other = initial_state(cfg, seed), initial_state(cfg, seed + OTHER)
    return {name: value for name, value in state.items() if not torch.equal(value, other[name])}


def shared_start(base: DictConfig, cfg: DictConfig, arm: str, seed: int, root: Path) -> str:
    """Return the file from which a run of the arm `arm` takes what it shares with the others of its seed.

    Args:
        base, cfg: configs of the baseline and of the arm. root: the comparison's folder; files go to its `init/`.

    Returns:
        A path for `train.init_shared`, "" if the arm shares nothing with the baseline.
    """
    common, trained = root / "init" / f"seed_{seed}.pth", start_path(root, seed)
    start = load_file(trained)["model"] if trained.is_file() else {}
    if not common.is_file():
        _write({**drawn_entries(base, seed), **start}, common, start)
    if _same_model(base, cfg):
        return str(common)
    drawn = {name: value for name, value in load_file(common)["model"].items() if name not in start}
    own, state = drawn_entries(cfg, seed), initial_state(cfg, seed)
    shared = {name: value for name, value in drawn.items() if name in own and alike(value, own[name])}
    would_fit = [name for name, value in drawn.items() if name in state and state[name].shape == value.shape]
    if not shared and not start:
        return ""
    if len(shared) == len(would_fit):
        return str(common)
    reduced = root / "init" / f"seed_{seed}-{folder_name(arm)}.pth"
    _write({**shared, **start}, reduced, start)
    return str(reduced)


def start_path(root: Path, seed: int) -> Path:
    """Return the path of the trained entries with which all arms of a seed begin (`--start`); they are loaded where
    shapes fit.
    """
    return root / "init" / f"start_seed_{seed}.pth"


def keep_start(checkpoint: Path, patterns: Sequence[str], path: Path) -> int:
    """Write the entries of a checkpoint whose names match; how many. Raises ValueError if there are none."""
    state = load_file(checkpoint)["model"]
    chosen = {name: value for name, value in state.items() if any(fnmatchcase(name, one) for one in patterns)}
    if not chosen:
        there = ", ".join(dict.fromkeys(f"{name.partition('.')[0]}.*" for name in state))
        raise ValueError(f"--start-keeps: no entry of {checkpoint} matches {', '.join(patterns)}; it has {there}")
    _write(chosen, path, chosen)
    return len(chosen)


def alike(a: Tensor, b: Tensor) -> bool:
    """Return whether two draws can be of one distribution: same shape, and spreads that differ by no more than chance.

    The log of the ratio of two standard deviations over n normal values deviates by about 1 / sqrt(n); 6 of these are
    allowed.
    """
    if a.shape != b.shape:
        return False
    n = a.numel()
    if n < 2 or not a.is_floating_point():
        return True
    spreads = a.double().std().item(), b.double().std().item()
    if min(spreads) == 0:
        return spreads[0] == spreads[1]
    return abs(math.log(spreads[0] / spreads[1])) <= 6 / math.sqrt(n)


def _same_model(base: DictConfig, cfg: DictConfig) -> bool:
    def parts(one: Any) -> tuple:
        train = read_settings(one)
        return plain(one)["model"], train.init_checkpoint, train.init_strict, train.init_classes

    return parts(base) == parts(cfg)


def _write(entries: dict[str, Tensor], path: Path, trained: Iterable[str]) -> None:
    """Several runs may write the same file at once: each has the same content, and the last rename stands.

    trained: names of the entries that a training gave.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: value.clone() for name, value in entries.items()}
    save_file({"model": state, TRAINED: sorted(trained)}, path)
