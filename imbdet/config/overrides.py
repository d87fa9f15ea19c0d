"""Strict `key=value` overrides.

What is notable here: a key must exist, or be a parameter that the node's target takes; a whole node is not replaced by
a number; and what stands at a key decides how a word is read: where text stands, `2024`, `007`, `1e3`, `yes` and `null`
are text.
"""

import difflib
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from . import yaml12
from .build import check_content
from .keys import accepts, annotation, child, nearest_key, parameters, walk
from .lazy import plain


def apply_overrides(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Apply "key=value" words to `cfg` in place, in order.

    `a.b.0.c` reaches into lists. `node={x: 1}` sets single keys of a node, `node={_target_: ..., ...}` and `node=null`
    replace it.

    Raises:
        ValueError: no "=", an unknown key (the nearest is named), a value of another kind than the present one.
    """
    if isinstance(overrides, str):
        raise ValueError(f"overrides must be a list of 'key=value' words, got the single string {overrides!r}")
    free = {key for key, value in walk(cfg) if value == {}}
    for word in overrides:
        key, equals, text = word.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ValueError(f"override {word!r} is not of the form key=value, e.g. train.max_iter=100")
        quoted = text.strip()[:1] in ("'", '"')
        try:
            value = text.strip() if not quoted and _is_text(cfg, key, text.strip()) else yaml12.parse(text)
        except ValueError as error:
            raise ValueError(f"override {key}: {error}") from error
        check_content({key.rpartition(".")[2]: value}, f"override {key}")
        if key == "remedies" or key.startswith("remedies."):
            raise ValueError(f"override {word!r}: put a remedy on a config with --remedy NAME, not by this list")
        _set(cfg, key, value, free, quoted)


def _is_text(cfg: DictConfig, key: str, word: str) -> bool:
    """Whether text stands at `key`, itself or by interpolation; `null` is text only where a parameter takes no None."""
    try:
        text = isinstance(OmegaConf.select(cfg, key), str)
    except (OmegaConfBaseException, ValueError, TypeError):  # an interpolation that leads nowhere
        return False
    return text and not (yaml12.scalar(word) is None and "None" in annotation(cfg, key))


def _set(cfg: DictConfig, key: str, value: Any, free: set[str], quoted: bool = False) -> None:
    """`free` holds the mappings that were empty at first: they take any key."""
    parent, last = _parent(cfg, key)
    path = key.rpartition(".")[0]
    try:
        present = child(parent, last)
    except KeyError:
        if not isinstance(parent, DictConfig) or not (path in free or accepts(cfg, path, last)):
            raise ValueError(_unknown(cfg, key)) from None
        with open_dict(parent):
            parent[last] = plain(value)
        return
    section = isinstance(present, DictConfig) and _has_content(present) and not _is_argument(cfg, key, present)
    if section and isinstance(value, dict) and "_target_" not in value:
        for name, item in value.items():
            _set(cfg, f"{key}.{name}", item, free)
        return
    value = _checked(cfg, key, present, value, quoted)
    if isinstance(parent, ListConfig):
        parent[int(last)] = plain(value)
    else:
        with open_dict(parent):
            parent[last] = plain(value)


def _parent(cfg: DictConfig, key: str) -> tuple[Any, str]:
    """The container that holds the last part of `key`, and that part."""
    *path, last = key.split(".")
    node: Any = cfg
    for i, part in enumerate(path):
        try:
            node = child(node, part)
        except KeyError:
            raise ValueError(_unknown(cfg, key)) from None
        where = ".".join(path[: i + 1])
        if node._is_interpolation():
            raise ValueError(f"override {key}: {where} is {node._value()}, so override that key instead")
        if node._is_none():
            raise ValueError(f"override {key}: {where} is null; fill it first, e.g. {where}={{_target_: ...}}")
        if not isinstance(node, (DictConfig, ListConfig)):
            raise ValueError(f"override {key}: {where} is the value {node._value()!r}, it has no keys")
    return node, last


def _is_argument(cfg: DictConfig, key: str, node: DictConfig) -> bool:
    """Whether `node` is a mapping that a call takes as data, like `weights={loss_cls: 1.0}`; it is replaced whole."""
    parents = [key.rsplit(".", n)[0] for n in range(1, key.count(".") + 1)]
    calls = [OmegaConf.select(cfg, path) for path in parents]
    return "_target_" not in node and any(isinstance(call, DictConfig) and "_target_" in call for call in calls)


def _has_content(node: Any) -> bool:
    return not (node._is_none() or node._is_interpolation() or node._is_missing())


def _checked(cfg: DictConfig, key: str, present: Any, value: Any, quoted: bool) -> Any:
    """`value`, if it may stand where `present` stands; 1e4 becomes whole where a whole number stands."""
    if value is None or (isinstance(value, str) and "${" in value):
        return value
    if isinstance(present, DictConfig) and _has_content(present) and not isinstance(value, dict):
        inside = ", ".join(f"{key}.{name}" for name in list(present)[:6])
        raise ValueError(f"override {key}={value!r} would replace a whole node; set {inside} or null")
    if isinstance(present, ListConfig) and _has_content(present) and not isinstance(value, list):
        old = yaml12.write_line(plain(present))
        raise ValueError(f"override {key}={value!r}: a list stands there, {old}; give one in brackets")
    if OmegaConf.is_config(present) or present._is_interpolation():
        return value
    old, kind = present._value(), ""
    if isinstance(old, bool):
        kind, fits = "true or false", isinstance(value, bool)
    elif isinstance(old, (int, float)):
        kind, fits = "a number", isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = fits or (isinstance(value, str) and quoted)
    elif isinstance(old, str):
        kind, fits = "text", isinstance(value, str)
    call = isinstance(value, dict) and "_target_" in value
    either = isinstance(value, (list, dict)) and annotation(cfg, key) not in ("", "bool", "int", "float", "str")
    if not kind or fits or call or either:
        return int(value) if type(old) is int and isinstance(value, float) and value.is_integer() else value
    hint = "" if isinstance(value, bool) else "; quote the value if you do mean text"
    raise ValueError(f"override {key}={yaml12.write_line(value)}: {kind} stands there ({yaml12.write_line(old)}){hint}")


def _unknown(cfg: DictConfig, key: str) -> str:
    """Why `key` cannot be set, with the nearest key or parameter."""
    path, _, last = key.rpartition(".")
    named = parameters(cfg, path)
    if named:
        near = difflib.get_close_matches(last, named, 1, 0.5)
        target = OmegaConf.select(cfg, path)["_target_"]
        hint = f"did you mean {path}.{near[0]}?" if near else f"it takes {', '.join(named)}"
        return f"unknown key {key!r}: {target} takes no {last!r}; {hint}"
    near = nearest_key(cfg, key)
    hint = f"did you mean {near!r}?" if near else f"the config has {', '.join(map(str, cfg))}"
    return f"unknown key {key!r}; {hint}"
