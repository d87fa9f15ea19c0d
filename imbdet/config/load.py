"""`load_config`: file, then remedies, then overrides. `save_config`: YAML that loads to the same config."""

import copy
import functools
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import NoneType
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ..write import write_whole
from . import yaml12
from .allowed import allowances, trust_target
from .build import check_content
from .files import configs_dir, find_config, python_files, read_text, refuse_code, run_file
from .keys import walk
from .lazy import plain
from .loss_scale import apply_loss_scale
from .moved import with_present_names
from .overrides import apply_overrides
from .remedy import Applied, apply_remedies, known_changes

#: what a config consists of, where it has it; each is a mapping
SECTIONS = ("model", "data", "dataloader", "optimizer", "lr_multiplier", "train")
#: the files that are being loaded: each names the next as its baseline
_loading: ContextVar[tuple[Path, ...]] = ContextVar("_loading", default=())


def load_config(
    path: str | os.PathLike, remedies: Sequence[str] = (), overrides: Sequence[str] = (), code: bool = True
) -> DictConfig:
    """Load a config, put remedies on it, then override single keys.

    Args:
        path: a .py or .yaml file, a run's folder, or the name of a shipped config ("baselines/faster_rcnn_shapes"). A
            python file is code and is run.
        remedies: names ("focal_loss", "class_fg_bg/focal_loss") or paths of .py files; applied in this order.
        overrides: "key=value" words; values are YAML 1.2 ("train.max_iter=100", "optimizer.lr=1e-3").
        code: False refuses Python files that are not shipped: for names that come from a file, not from the user.

    Returns:
        The config in struct mode: setting a key that does not exist raises. Interpolations are kept. `remedies` lists
        the names of all remedies in it; `loss_scale` is "published", or "match" for losses as large as those of the
        config without remedies and overrides (see `loss_scale.py`).

    Raises:
        FileNotFoundError: no such config; the message names the nearest.
        ValueError: an unknown remedy or key (the nearest is named), two remedies that collide, a remedy without its
            slot, a target that a config may not name (see `allowed.py`).
    """
    if isinstance(remedies, str):
        raise ValueError(f"remedies must be a list of names, got the single string {remedies!r}")
    if not code:
        refuse_code(find_config(path), *remedies)
    cfg, _ = _fresh(find_config(path), tuple(remedies), str(path) if remedies else "")
    return _finished(cfg, overrides, lambda: _fresh(find_config(baseline_of(path)))[0])


def config_in(
    content: Mapping[str, Any], source: str, remedies: Sequence[str] = (), overrides: Sequence[str] = ()
) -> DictConfig:
    """As `load_config`, of a config that is at hand as plain containers, such as a checkpoint's. source: for errors."""

    def fresh() -> DictConfig:
        return config_of(copy.deepcopy(dict(content)), source)

    cfg, _ = _with_remedies(fresh(), (), tuple(remedies), source)
    return _finished(cfg, overrides, fresh)


def _finished(cfg: DictConfig, overrides: Sequence[str], plain_config: Callable[[], DictConfig]) -> DictConfig:
    apply_overrides(cfg, overrides)
    apply_loss_scale(cfg, plain_config)
    OmegaConf.set_struct(cfg, True)
    return cfg


def _fresh(path: Path, remedies: tuple[str, ...] = (), named: str = "") -> tuple[DictConfig, Sequence[Applied]]:
    """A copy of the config in `path`, called `named` in errors, with `remedies` on it, and what those in it changed.

    Shipped configs are kept in memory until a file of theirs changes: tests and comparisons load hundreds, and running
    the files takes twenty times as long as making the copy.
    """
    root = configs_dir().resolve()
    if path.suffix != ".py" or not path.is_relative_to(root) or any(name.endswith(".py") for name in remedies):
        return _made(path, remedies, named)
    saved, applied = _kept(path, remedies, named, max(os.stat(file).st_mtime_ns for file in python_files(root)))
    return pickle.loads(saved), applied


@functools.lru_cache(maxsize=256)
def _kept(path: Path, remedies: tuple[str, ...], named: str, edited: int) -> tuple[bytes, Sequence[Applied]]:
    cfg, applied = _made(path, remedies, named)
    return pickle.dumps(cfg), applied


def _made(path: Path, remedies: tuple[str, ...], named: str) -> tuple[DictConfig, Sequence[Applied]]:
    return _with_remedies(*_fresh(path), remedies, named) if remedies else _load(path)


def _with_remedies(
    cfg: DictConfig, applied: Sequence[Applied], remedies: tuple[str, ...], named: str
) -> tuple[DictConfig, Sequence[Applied]]:
    if remedies and len(applied) < len(cfg.remedies):
        applied = known_changes(cfg, load_config)
    return apply_remedies(cfg, applied, remedies, named)


def _load(path: Path) -> tuple[DictConfig, list[Applied]]:
    """The config in `path` and the remedies that python files put on it."""
    if path.suffix != ".py":
        return _from_yaml(path), []
    if path in _loading.get():
        circle = " -> ".join(map(str, (*_loading.get(), path)))
        raise ValueError(f"configs name each other as baseline in a circle: {circle}")
    token = _loading.set((*_loading.get(), path))
    try:
        return _from_python(path)
    finally:
        _loading.reset(token)


def _from_python(path: Path) -> tuple[DictConfig, list[Applied]]:
    names = run_file(path)
    if "baseline" not in names:
        return _from_names(names, path), []
    if not isinstance(names["baseline"], str):
        raise ValueError(f"config {path}: baseline must be the name of a config, got {names['baseline']!r}")
    cfg, applied = _fresh(find_config(names["baseline"]))
    listed = names.get("remedies", [])
    if isinstance(listed, str) or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"config {path}: remedies must be a list of names, got {listed!r}")
    own = [str(path)] if callable(names.get("apply")) else []
    if not own and not listed:
        raise ValueError(f"config {path} names a baseline, but defines neither apply(cfg) nor remedies")
    return apply_remedies(cfg, applied, [*listed, *own], names["baseline"])


def baseline_of(path: str | os.PathLike) -> str:
    """Return the plain config under a remedy or a bundle of remedies; of any other config itself."""
    found = find_config(path)
    if found.suffix == ".py":
        baseline = run_file(found).get("baseline")
        if isinstance(baseline, str):
            return baseline_of(baseline)
    return os.fspath(path)


def _from_names(names: Mapping[str, Any], path: Path) -> DictConfig:
    """The config made of a python file's public dicts and lists."""
    kinds = (DictConfig, ListConfig, dict, list)
    parts = {key: plain(value) for key, value in names.items() if isinstance(value, kinds) and not key.startswith("_")}
    for key, value in walk(parts):  # of calls that are written as plain dicts; LazyCall has told of the others
        if key.endswith("._target_"):
            trust_target(value)
    if not parts:
        raise ValueError(f"config {path} defines nothing: a config is the dicts and LazyCalls at the top of the file")
    parts.setdefault("remedies", [])
    parts.setdefault("loss_scale", "published")
    return OmegaConf.create(parts)


def _from_yaml(path: Path) -> DictConfig:
    return pickle.loads(_kept_yaml(read_text(path), f"config {path}", allowances()))


@functools.lru_cache(maxsize=64)  # a comparison reads the same text for each of its cells
def _kept_yaml(text: str, source: str, allowed: frozenset[str]) -> bytes:
    """The checked config, pickled; `allowed` is what it was checked with."""
    return pickle.dumps(config_of(yaml12.read(text, source), source))


def config_of(content: Any, source: str) -> DictConfig:
    """Return the config in plain containers that come from a file: YAML, a checkpoint.

    Raises:
        ValueError: it is no mapping, or names what a config may not (see `allowed.py`); `source` begins the message.
    """
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{source} must be a mapping of keys, got {type(content).__name__}")
    check_content(content, source)
    _check_sections(content, source)
    content = with_present_names(content)
    content.setdefault("remedies", [])
    content.setdefault("loss_scale", "published")
    return OmegaConf.create(content)


def _check_sections(content: Mapping[str, Any], source: str) -> None:
    for section in SECTIONS:
        if not isinstance(content.get(section), (dict, NoneType)):
            raise ValueError(f"{source}: {section} must be a mapping of keys, got {content[section]!r}")
    for path in ("data", "dataloader"):
        for split in ("train", "val", "test"):
            part = (content.get(path) or {}).get(split)
            if not isinstance(part, (dict, NoneType)) and not str(part).startswith("${"):
                raise ValueError(f"{source}: {path}.{split} must be a mapping of keys, got {part!r}")


def to_yaml(cfg: Any, resolve: bool = False) -> str:
    """Return `cfg`, or a part or single value of it, as YAML text; interpolations stay as they are unless `resolve`."""
    value = plain(OmegaConf.to_container(cfg, resolve=True) if resolve and OmegaConf.is_config(cfg) else cfg)
    return yaml12.write(value) if isinstance(value, (dict, list)) else f"{yaml12.write_line(value)}\n"


def save_config(cfg: DictConfig, path: str | os.PathLike) -> None:
    """Write `cfg` to `path` as YAML that `load_config` reads back equal. The file appears whole or not at all.

    Raises:
        WriteError (an OSError): the file cannot be written.
    """
    write_whole(path, to_yaml(cfg))
