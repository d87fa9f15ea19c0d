"""`LazyCall`: a call that is written down instead of made.

What is notable here: a node holds names, numbers, lists and mappings only, so that every config can be saved as YAML.
Tuples become lists at once (omegaconf 2.3 does so in silence, omegaconf 2.4 keeps them as a third, immutable container
that YAML cannot give back), paths become strings, and a class or function given as a *value* becomes a node that
yields it.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, Node, OmegaConf
from omegaconf.basecontainer import BaseContainer

from .allowed import trust_target

_LEAVES = (str, int, float, bool, type(None))  # of which nearly all of a config consists


class LazyCall:
    """`LazyCall(f)(a=1)` is the config node of the call `f(a=1)`; `instantiate` makes the call.

    Args:
        target: a class or function that can be imported by name, or its dotted name.

    Raises:
        ValueError: `target` is a lambda, a local function or one defined in a config file: a saved config could not
            name it.
    """

    def __init__(self, target: Callable | str):
        self._name = target if isinstance(target, str) else target_name(target)
        trust_target(self._name)

    def __call__(self, **kwargs: Any) -> DictConfig:
        return OmegaConf.create({"_target_": self._name, **{key: plain(value) for key, value in kwargs.items()}})


def target_name(target: Callable) -> str:
    """Return the shortest dotted name under which `target` can be imported: `torch.optim.SGD`, not
    `torch.optim.sgd.SGD`.
    """
    module, qualname = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    if module is None or qualname is None:
        raise ValueError(f"{target!r} has no name to be imported by; a config needs a class or a function")
    if "<lambda>" in qualname or "<locals>" in qualname:
        raise ValueError(
            f"{qualname!r} of {module} cannot be named in a config: lambdas and functions defined inside a function "
            f"have no import name; define it at the top of a module"
        )
    if not _is(target, module, qualname):
        raise ValueError(
            f"{qualname!r} cannot be imported from {module!r}; a function defined in a config file must move into an "
            f"importable module"
        )
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        prefix = ".".join(parts[:length])
        if _is(target, prefix, qualname):
            return f"{prefix}.{qualname}"
    raise AssertionError("unreachable: the full name was checked above")


def _is(target: Callable, module: str, qualname: str) -> bool:
    """Whether `module.qualname` is `target`, without importing anything and without waking lazy attributes."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = vars(found).get(name) if hasattr(found, "__dict__") else None
    if isinstance(found, (classmethod, staticmethod)):
        found = found.__func__
    return found is not None and found is getattr(target, "__func__", target)


def contents(node: Any) -> Any:
    """Return the plain dicts and lists of a node, interpolations as they are: what `OmegaConf.to_container` gives with
    resolve=False, in a tenth of the time. A comparison loads hundreds of configs, and each is read many times.
    """
    value = node._value() if isinstance(node, Node) else node
    if isinstance(value, dict):
        return {key: contents(item) for key, item in value.items()}
    return [contents(item) for item in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """Return `value` with tuples as lists, paths as strings and callables as nodes, all the way down. Interpolations
    stay.
    """
    if type(value) in _LEAVES:
        return value
    if isinstance(value, BaseContainer):
        if value._is_none() or value._is_missing() or value._is_interpolation():
            return value
        value = contents(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if callable(value):
        return dict(LazyCall(value)(_partial_=True))
    return value
