"""`instantiate`: make the calls that a config node writes down.

What is notable here: constructors get plain lists and dicts, never omegaconf containers; a failing constructor is
reported with the config key it was built for; nothing is remembered between calls.
"""

import difflib
import functools
import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omegaconf.basecontainer import BaseContainer

from .. import slots
from .allowed import NotAllowed, check_found, check_name, check_text
from .moved import present_name

_RESERVED = ("_target_", "_partial_", "_recursive_", "_args_")
_LARGEST, _DEEPEST = 100_000, 60  # values and levels of a config that comes from a file
_SLOTS = {
    name: found for name, found in vars(slots).items() if inspect.isclass(found) and issubclass(found, slots.Slot)
}


def instantiate(node: Any, **extra: Any) -> Any:
    """Build what `node` describes, children first.

    Args:
        node: a config node, or plain dicts and lists. A mapping with `_target_` is a call; other mappings and lists are
            walked; anything else is returned as it is. Interpolations are resolved from the root of the config.
            `_partial_: true` gives a `functools.partial` (the callable itself when it has no arguments);
            `_recursive_: false` hands the children over as config nodes; `_args_` holds positional arguments.
        extra: arguments that replace those of the node; they are passed as they are.

    Raises:
        ValueError: `_target_` may not be named in a config (see `allowed.py`) or cannot be imported, or does not take
            these arguments, or refuses their values.
        FileNotFoundError, PermissionError, other OSError: raised by a constructor, with the config key added.
        RuntimeError: any other failure of a constructor. The failure itself is kept as the cause.
    """
    path = (node._get_full_key(None) or "") if isinstance(node, BaseContainer) else ""
    if extra and not (isinstance(node, Mapping) and "_target_" in node):
        raise ValueError(f"instantiate: arguments {sorted(extra)} given for {path or 'a node'}, which has no _target_")
    return _build(node, path, extra)


def _build(node: Any, path: str, extra: Mapping[str, Any]) -> Any:
    # Sequence covers list, tuple, ListConfig and the TupleConfig that only omegaconf 2.4 has.
    if isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        items = [_build(node[i], _join(path, i), {}) for i in range(len(node))]
        return tuple(items) if isinstance(node, tuple) or type(node).__name__ == "TupleConfig" else items
    if not isinstance(node, Mapping):
        return node
    if "_target_" not in node:
        return {key: _build(node[key], _join(path, key), {}) for key in node}
    return _call(node, path, extra)


def _call(node: Mapping, path: str, extra: Mapping[str, Any]) -> Any:
    target = node["_target_"]
    if not callable(target):
        target = locate(target, path)
    strange = [k for k in node if isinstance(k, str) and k.startswith("_") and k.endswith("_") and k not in _RESERVED]
    if strange:
        raise ValueError(f"{path}: unknown reserved keys {strange}; known are {', '.join(_RESERVED)}")
    recursive = node.get("_recursive_", True)
    child = _build if recursive else (lambda value, path, extra: value)
    args = child(node["_args_"], _join(path, "_args_"), {}) if "_args_" in node else ()
    keys = [key for key in node if key not in _RESERVED and key not in extra]
    kwargs = {key: child(node[key], _join(path, key), {}) for key in keys} | dict(extra)
    for key, wanted in _slots_taken(target).items() if recursive else ():
        if key in kwargs and not _fits(kwargs[key], wanted):
            names = " or ".join(sorted(slot.__name__ for slot in wanted))
            expected = f"expected null, or a node whose _target_ is one for {names}"
            raise ValueError(f"{_join(path, key)} is {kwargs[key]!r:.100}; {expected}")
    if node.get("_partial_", False):
        return functools.partial(target, *args, **kwargs) if args or kwargs else target
    try:
        return target(*args, **kwargs)
    except Exception as error:
        if hasattr(error, "config_path"):  # raised while the constructor built parts of its own: that place is better
            raise
        raise _explained(error, target, args, kwargs, path) from error


@functools.lru_cache(maxsize=1024)
def _slots_taken(target: Callable) -> dict[str, tuple[type, ...]]:
    """The parameters that take what fills a slot, by their annotations, with their slots; those that a class hands on
    to its base (`**common`) are among them.
    """
    found: list[inspect.Parameter] = []
    for maker in target.__mro__ if inspect.isclass(target) else (target,):
        try:
            parameters = inspect.signature(maker).parameters.values()
        except (TypeError, ValueError):
            break
        found += [p for p in parameters if p.name not in {other.name for other in found}]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    texts = {p.name: getattr(p.annotation, "__name__", str(p.annotation)) for p in found}
    names = {name: {part.strip().rpartition(".")[2] for part in text.split("|")} for name, text in texts.items()}
    taken = {name: parts - {"None"} for name, parts in names.items() if parts & set(_SLOTS)}
    return {name: tuple(_SLOTS[part] for part in parts) for name, parts in taken.items() if parts <= set(_SLOTS)}


def _fits(value: Any, wanted: tuple[type, ...]) -> bool:
    """Whether a value may stand in one of these slots: a filler of its class, or an object of another library."""
    if value is None or isinstance(value, wanted):
        return True
    plain = isinstance(value, (str, int, float, list, dict, slots.Slot))
    return not plain and (callable(value) or not all(slot.is_called for slot in wanted))


def _explained(error: Exception, target: Callable, args: Sequence, kwargs: Mapping, path: str) -> Exception:
    """`error` again, of a type that says whose mistake it is, with the config key and the target in front."""
    where = f"{path or 'config'}: {_name(target)}"
    kind: type[Exception] = RuntimeError
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        kind, detail = type(error), str(error)
    elif isinstance(error, ValueError):
        kind, detail = ValueError, str(error)
    elif isinstance(error, ImportError):
        kind, detail = ImportError, str(error)
    elif isinstance(error, TypeError) and _misfit(target, args, kwargs):
        kind, detail = ValueError, _misfit(target, args, kwargs)
    explained = kind(f"{where}: {detail}")
    explained.config_path = path
    return explained


def _misfit(target: Callable, args: Sequence, kwargs: Mapping) -> str:
    """What is wrong with these arguments for `target`'s signature; "" when they fit or it cannot be known."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        names = list(signature.parameters)
        unknown = [key for key in kwargs if key not in names]
        if not unknown:
            return f"{error}"
        near = difflib.get_close_matches(unknown[0], [name for name in names if name not in kwargs], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(names)}"
        return f"it takes no argument {unknown[0]!r}; {hint}"
    return ""


def check_content(content: Any, source: str) -> None:
    """Refuse a config from a file that names what it may not, before anything of it is imported or built.

    A part of imbdet that is not there, or lacks its library, is left to `instantiate`: runs of older versions can be
    read.

    Raises:
        ValueError: a target or an interpolation that `allowed.py` refuses; a number that is not finite or beyond 64
            bits; more than 100,000 values or 60 levels, as YAML aliases make in a few lines.
    """
    targets, stack, seen = [], [("", content, 0)], 0
    while stack:
        path, node, depth = stack.pop()
        seen += 1
        if seen > _LARGEST or depth > _DEEPEST:
            raise ValueError(f"{source}: more than {_LARGEST:,} values or {_DEEPEST} levels, below {path[:80]!r}")
        if isinstance(node, str) and "${" in node:
            check_text(node, f"{source}: {path}: ")
        if type(node) is int and not -(2**63) <= node < 2**63:
            raise ValueError(f"{source}: {path} is {hex(node)[:12]}..., beyond 64 bits")
        if isinstance(node, float) and not math.isfinite(node):
            raise ValueError(f"{source}: {path} is {node}; a config holds finite numbers")
        if isinstance(node, Mapping):
            if "_target_" in node:
                targets.append((node["_target_"], path))
                _check_words(node["_target_"], f"{source}: {_join(path, '_target_')}: ")
            stack += [(_join(path, key), value, depth + 1) for key, value in node.items()]
        elif isinstance(node, (list, tuple)):
            stack += [(_join(path, i), value, depth + 1) for i, value in enumerate(node)]
    for name, path in targets:
        try:
            locate(name, f"{source}: {path}")
        except ImportError:
            continue
        except ValueError as error:
            if isinstance(error, NotAllowed) or not name.startswith("imbdet."):
                raise


def _check_words(name: Any, where: str) -> list[str]:
    """The parts of a dotted name that a config may hold, as far as its words tell."""
    parts = name.split(".") if isinstance(name, str) else []
    if not all(part.isidentifier() for part in parts) or len(parts) < 2:
        raise ValueError(f"{where}{name!r} is not a dotted import name such as 'torch.optim.SGD'")
    check_name(name, where)
    return parts


def locate(name: str, path: str = "") -> Any:
    """Import the object with this dotted name, e.g. "torch.optim.SGD".

    Raises:
        ValueError: a config may not name it (see `allowed.py`); or there is no such module or attribute, and the
            message names the nearest one.
        ImportError: the module exists but fails to import (an optional library is missing, say).
    """
    where = f"{path}._target_: " if path else "_target_: "
    name = present_name(name) if isinstance(name, str) else name
    parts = _check_words(name, where)
    found, depth = _deepest_module(parts, where, name)
    holder = None
    for i in range(depth, len(parts)):
        try:
            holder, found = found, getattr(found, parts[i])
        except AttributeError:
            names = [n for n in dir(found) if not n.startswith("_")]
            if hasattr(found, "__path__"):
                names += [info.name for info in pkgutil.iter_modules(found.__path__)]
            raise ValueError(_missing(where, name, ".".join(parts[:i]), parts[i], names)) from None
    if not callable(found):
        raise ValueError(f"{where}{name!r} is a {type(found).__name__}, not something that can be called")
    check_found(found, holder, name, where)
    return found


def _deepest_module(parts: Sequence[str], where: str, name: str) -> tuple[Any, int]:
    """The longest importable prefix of `parts` and its length."""
    found, depth = None, 0
    for depth in range(1, len(parts) + 1):
        prefix = ".".join(parts[:depth])
        attribute = getattr(found, parts[depth - 1], None)
        if attribute is not None and not inspect.ismodule(attribute):
            return found, depth - 1
        try:
            found = importlib.import_module(prefix)
        except ModuleNotFoundError as error:
            if error.name != prefix and not (found is not None and not hasattr(found, "__path__")):
                raise ImportError(f"{where}{name!r}: importing {prefix} failed: {error}") from error
            if found is None:
                names = [info.name for info in pkgutil.iter_modules()]
                raise ValueError(_missing(where, name, "", parts[0], names)) from None
            return found, depth - 1
        except ImportError as error:
            raise ImportError(f"{where}{name!r}: importing {prefix} failed: {error}") from error
    return found, depth


def _missing(where: str, name: str, parent: str, part: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(part, names, 1, 0.5)
    hint = f"; did you mean {'.'.join(filter(None, [parent, near[0]]))!r}?" if near else ""
    what = f"{parent} has no {part!r}" if parent else f"no module {part!r}"
    return f"{where}{name!r} cannot be imported: {what}{hint}"


def _name(target: Callable) -> str:
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', repr(target))}"


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
