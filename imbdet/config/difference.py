"""What differs between two configs: as paths (to find remedies that collide), as lines (to be read), and judged."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig

from ..slots import is_inside
from . import yaml12
from .lazy import plain

_ABSENT = object()
_LONG = 240  # characters of a line
_NEVER = (
    "train.output_dir",
    "train.overwrite",
    "train.init_shared",
    "train.device",
    "train.log_period",
    "train.checkpointer",
    "train.tensorboard",
    "train.loggers",
    "train.val_loss_batches",
    "train.val_pictures",
)
#: keys, whole sections or ("*.") last words that may differ, because no number that counts depends on them:
#: in a resumed run, between two visits to a comparison's folder, in two runs that are compared
HARMLESS = {
    "resume": (
        *_NEVER,
        "train.eval_period",
        "train.early_stopping",
        "train.init_classes",  # read with train.init_checkpoint alone, before the first step
        "dataloader.train.num_workers",
        "dataloader.val",
        "dataloader.test",
        "data.test",
    ),
    "revisit": (*_NEVER, "train.seed", "*.num_workers"),
    "compare": ("*.records", "*.num_workers", "*.seed", "*.cache_bytes", "*.pin_memory"),
}

#: keys that came later -> the value with which all is as it was without them, so that older runs and grids go on
LATER = {"train.time": "", "train.batch_size": ""}


def is_harmless(key: str, purpose: str) -> bool:
    """Return whether `key` may differ for this purpose, one of HARMLESS."""
    word = f"*.{key.rsplit('.', 1)[-1]}"
    return word in HARMLESS[purpose] or is_inside(key, HARMLESS[purpose])


def judged(before: Any, after: Any, purpose: str) -> tuple[list[str], list[str]]:
    """Return the lines of `diff` in two: changes that may not be, and harmless ones.

    Args:
        before, after: configs, or the plain containers of them. purpose: one of HARMLESS.
    """
    sides: tuple[list, list] = ([], [])
    for change in _changes(plain(before), plain(after), ""):
        key, old, new = change
        if key in LATER and (old is _ABSENT or new is _ABSENT) and LATER[key] in (old, new):
            continue
        sides[is_harmless(change[0], purpose)].append(change)
    return _lines(sides[0]), _lines(sides[1])


def flatten(cfg: Any) -> dict[str, Any]:
    """Return {"train.seed": 0, ...}: the leaves by their keys, interpolations unresolved; a list is one value."""
    flat: dict[str, Any] = {}
    stack = [("", plain(cfg))]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            stack += [(f"{path}.{key}" if path else str(key), node[key]) for key in reversed(node)]
        else:
            flat[path] = node
    return flat


def changed_paths(before: DictConfig, after: DictConfig) -> list[str]:
    """Return the keys whose value differs, e.g. ["model.criterion.classification", "train.max_iter"].

    A node whose `_target_` changed counts as one change at its own key, and so does a list. A whole that keeps some of
    its parts, such as a detector with its backbone, counts key by key: who changes only what it keeps does not collide.
    """
    return [path for path, _, _ in _changes(plain(before), plain(after), "")]


def diff(before: DictConfig, after: DictConfig) -> list[str]:
    """Return the same as lines to read: "train.max_iter: 90000 -> 100", "x: added 3", "x: 3 removed".

    Two calls that differ in their target stand in one line if that is short enough, else key by key.
    """
    return _lines(_changes(plain(before), plain(after), ""))


def _lines(changes: Iterable[tuple[str, Any, Any]]) -> list[str]:
    lines = []
    for path, old, new in changes:
        line = f"{path}: {describe(old)} -> {describe(new)}"
        if old is _ABSENT:
            lines.append(f"{path}: added {describe(new)}")
        elif new is _ABSENT:
            lines.append(f"{path}: {describe(old)} removed")
        elif len(line) > _LONG and isinstance(old, Mapping) and isinstance(new, Mapping):
            keys = [*old, *(key for key in new if key not in old)]
            for key in keys:
                lines += _lines(_changes(old.get(key, _ABSENT), new.get(key, _ABSENT), f"{path}.{key}"))
        else:
            lines.append(line)
    return lines


def _changes(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    calls = isinstance(old, Mapping) and isinstance(new, Mapping)
    if calls and (old.get("_target_") == new.get("_target_") or _share_a_part(old, new)):
        for key in [*old, *(key for key in new if key not in old)]:
            child = f"{path}.{key}" if path else str(key)
            yield from _changes(old.get(key, _ABSENT), new.get(key, _ABSENT), child)
    elif isinstance(old, bool) is not isinstance(new, bool) or old != new:  # 1 is 1.0, but not true
        yield path, old, new


def _share_a_part(old: Mapping, new: Mapping) -> bool:
    """Whether the same call is an argument of both."""
    return any(isinstance(part, Mapping) and "_target_" in part and new.get(key) == part for key, part in old.items())


def describe(value: Any) -> str:
    """Return a value in one line: `Focal(alpha=0.25)` for a node, YAML's spelling for the rest."""
    if value is _ABSENT:
        return "nothing"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}={describe(item)}" for key, item in value.items() if key != "_target_")
        return f"{str(value['_target_']).rsplit('.', 1)[-1]}({inner})" if "_target_" in value else f"{{{inner}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(describe, value))}]"
    return yaml12.write_line(value)
