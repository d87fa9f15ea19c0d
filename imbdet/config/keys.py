"""The keys that a config has or could have: nearest existing key, parameters that a node's target takes."""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from .build import locate
from .lazy import contents


def walk(cfg: Any) -> list[tuple[str, Any]]:
    """Return every key of `cfg` with its unresolved value: nodes and leaves, elements of lists by number."""
    found: list[tuple[str, Any]] = []
    stack = [("", contents(cfg) if OmegaConf.is_config(cfg) else cfg)]
    while stack:
        path, node = stack.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        children = [(f"{path}.{key}" if path else str(key), value) for key, value in items]
        found += children
        stack += reversed(children)
    return found


def nearest_key(cfg: Any, wanted: str) -> str:
    """Return the key of `cfg` most like `wanted`, "" when none is: first by spelling, then by the last word ("lr")."""
    keys = [key for key, _ in walk(cfg)]
    near = difflib.get_close_matches(wanted, keys, 1, 0.8)
    if near:
        return near[0]
    last = wanted.rsplit(".", 1)[-1]
    same = sorted((key for key in keys if key.rsplit(".", 1)[-1] == last), key=len)
    if same:
        return max(same, key=lambda key: difflib.SequenceMatcher(None, wanted, key).ratio())
    near = difflib.get_close_matches(wanted, keys, 1, 0.6)
    if near:
        return near[0]
    words = difflib.get_close_matches(last, {key.rsplit(".", 1)[-1] for key in keys}, 1, 0.75)
    return min((key for key in keys if words and key.rsplit(".", 1)[-1] == words[0]), key=len, default="")


def select(cfg: DictConfig, key: str) -> Any:
    """Return the node or value at `key`.

    Raises:
        ValueError: there is none; the nearest key is named.
    """
    node: Any = cfg
    for part in key.split("."):
        if not isinstance(node, (DictConfig, ListConfig)):
            break
        try:
            child(node, part)
        except KeyError:
            break
        node = node[int(part) if isinstance(node, ListConfig) else part]
    else:
        return node
    near = nearest_key(cfg, key)
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(map(str, cfg))}"
    raise ValueError(f"no key {key!r}; {hint}")


def _signature(cfg: Any, path: str) -> Mapping[str, inspect.Parameter]:
    """The parameters of the target of the node at `path`; {} of a node that is no call, or of a target written in C."""
    node = OmegaConf.select(cfg, path) if path else cfg
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return {}
    try:
        target = locate(node["_target_"], path)
        found = dict(inspect.signature(target).parameters)
        rest = [name for name, p in found.items() if p.kind is inspect.Parameter.VAR_KEYWORD]
        above = [base for base in target.__mro__[1:] if "__init__" in vars(base)] if inspect.isclass(target) else []
        # `**common` of a class goes to the class above, so that its names count; below torch's and python's own, any
        while rest and above and above[0].__module__.partition(".")[0] not in ("torch", "builtins"):
            del found[rest[0]]
            found.update({k: p for k, p in inspect.signature(above.pop(0)).parameters.items() if k not in found})
            rest = [name for name, p in found.items() if p.kind is inspect.Parameter.VAR_KEYWORD]
        return found
    except (TypeError, ValueError):
        return {}


def parameters(cfg: Any, path: str) -> list[str]:
    """Return the names that the target of the node at `path` takes."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in _signature(cfg, path).values() if p.kind in kinds]


def annotation(cfg: Any, key: str) -> str:
    """Return the annotation of the parameter at `key` as text, such as "int" or "str | None"; "" where there is
    none.
    """
    path, _, name = key.rpartition(".")
    found = getattr(_signature(cfg, path).get(name), "annotation", inspect.Parameter.empty)
    return "" if found is inspect.Parameter.empty else getattr(found, "__name__", str(found))


def accepts(cfg: Any, path: str, name: str) -> bool:
    """Return whether the node at `path` is a call that takes the parameter `name`."""
    found = _signature(cfg, path)
    any_name = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in found.values())
    return any_name or name in parameters(cfg, path) or (bool(found) and name in ("_partial_", "_recursive_"))


def child(node: Any, key: str) -> Any:
    """Return `node[key]` with list elements by number. Interpolations are not followed.

    Raises:
        KeyError: there is no such child.
    """
    if isinstance(node, DictConfig) and not (node._is_none() or node._is_interpolation() or node._is_missing()):
        for name in (key, int(key) if key.lstrip("-").isdigit() else key):
            if name in node:
                return node._get_node(name)
    if isinstance(node, ListConfig) and not node._is_none() and key.isdigit() and int(key) < len(node):
        return node._get_node(int(key))
    raise KeyError(key)
