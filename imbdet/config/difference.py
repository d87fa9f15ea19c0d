"""What differs between two configs: as paths (to find remedies that collide) and as lines (to be read)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from . import yaml12

_ABSENT = object()
_LONG = 240  # characters of a line


def changed_paths(before: DictConfig, after: DictConfig) -> list[str]:
    """The keys whose value differs, e.g. ["model.criterion.classification", "train.max_iter"].

    A node whose `_target_` changed counts as one change at its own key, and so does a list. A whole that keeps some of
    its parts, such as a detector with its backbone, counts key by key: who changes only what it keeps does not collide.
    """
    return [path for path, _, _ in _changes(_container(before), _container(after), "")]


def diff(before: DictConfig, after: DictConfig) -> list[str]:
    """The same as lines to read: "train.max_iter: 90000 -> 100", "x: added 3", "x: 3 removed".

    Two calls that differ in their target stand in one line if that is short enough, else key by key.
    """
    return _lines(_changes(_container(before), _container(after), ""))


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


def _container(cfg: Any) -> Any:
    return OmegaConf.to_container(cfg, resolve=False) if OmegaConf.is_config(cfg) else cfg


def _changes(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    calls = isinstance(old, Mapping) and isinstance(new, Mapping)
    if calls and (old.get("_target_") == new.get("_target_") or _share_a_part(old, new)):
        for key in [*old, *(key for key in new if key not in old)]:
            child = f"{path}.{key}" if path else str(key)
            yield from _changes(old.get(key, _ABSENT), new.get(key, _ABSENT), child)
    elif type(old) is not type(new) or old != new:  # the types too: 1, 1.0 and true are equal but not the same setting
        yield path, old, new


def _share_a_part(old: Mapping, new: Mapping) -> bool:
    """Whether the same call is an argument of both."""
    return any(isinstance(part, Mapping) and "_target_" in part and new.get(key) == part for key, part in old.items())


def describe(value: Any) -> str:
    """A value in one line: `Focal(alpha=0.25)` for a node, YAML's spelling for the rest."""
    if value is _ABSENT:
        return "nothing"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}={describe(item)}" for key, item in value.items() if key != "_target_")
        return f"{str(value['_target_']).rsplit('.', 1)[-1]}({inner})" if "_target_" in value else f"{{{inner}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(describe, value))}]"
    return yaml12.write_line(value)
