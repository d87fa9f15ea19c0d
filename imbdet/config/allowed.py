"""What a config may name: the classes and functions that a `_target_` can stand for.

A config that is data (a run's config.yaml, the config of a checkpoint, an override) comes from anyone, so it may name
only what is meant to be named in configs:

1. a public class, a function, or a class or static method of a class, that is both reached through and defined in a
   module of ALLOWED: `torch.nn.functional.os.system` is reached through one, but defined elsewhere;
2. nothing of KEPT_OUT: modules below those that read pickles, write files, or call what they are given;
3. what the user adds: modules by `trust` (`--trust MODULE`, or IMBDET_TRUST), single targets by a Python config of the
   user's own. A Python file that another file names is run by the same rule.

Names are refused by their words before anything is imported.
"""

import difflib
import inspect
import os
import re
from pathlib import Path
from typing import Any

from ..slots import is_inside

#: the packages, and what of them a config needs
ALLOWED = (
    "imbdet.data",
    "imbdet.modeling",
    "imbdet.remedies",
    "imbdet.engine.optimizer",
    "imbdet.engine.schedule",
    "torch.nn",
    "torch.optim",
    "torchvision.models",
    "torchvision.ops",
    "torchvision.transforms",
    "torchvision.tv_tensors",
    "timm.layers",
    "timm.loss",
    "timm.models",
    "timm.optim",
    "timm.scheduler",
    "fvcore.common.param_scheduler",
    "fvcore.nn",
)
PACKAGES = ("imbdet", "torch.nn", "torch.optim", "torchvision", "timm", "fvcore")
KEPT_OUT = (
    "imbdet.data.checks",
    "timm.models._builder",
    "timm.models._helpers",
    "timm.models._hub",
    "torchvision.models._api",
)
TRUSTED = "IMBDET_TRUST"  #: variable with what the user added, for processes started from here on
_names: set[str] = set()
_targets: set[str] = set()


class NotAllowed(ValueError):
    """A config names what it may not."""


def trust(*names: str) -> None:
    """Let configs name what these modules and packages define, and files name these Python configs ("a/remedy.py").

    Processes started from here on inherit it.

    Raises:
        ValueError: neither the dotted name of a module nor a .py file.
    """
    for name in names:
        if not name.endswith(".py") and not all(part.isidentifier() for part in name.split(".")):
            raise ValueError(f"--trust {name!r}: give the dotted name of a module, such as my_package.losses")
        _names.add(str(Path(name).resolve()) if name.endswith(".py") else name)
    os.environ[TRUSTED] = os.pathsep.join(sorted(trusted()))


def trust_target(name: str) -> None:
    """Let files name this one class, function or Python file: code of the user's own holds it already."""
    _targets.add(name)


def trusted() -> set[str]:
    """Return what the user added: modules, and absolute paths of Python files."""
    return _names | set(filter(None, os.environ.get(TRUSTED, "").split(os.pathsep)))


def allowances() -> frozenset[str]:
    """Return all that was added to the allowlist in this process."""
    return frozenset(_targets | trusted())


def may_run(path: str | os.PathLike) -> bool:
    """Return whether a Python config that a file names may be run: the user named it, or this process runs it
    already.
    """
    return str(Path(path).resolve()) in allowances()


def check_name(name: str, where: str) -> None:
    """Judge a target by its words.

    Raises:
        NotAllowed: it is reached through a module that is not allowed. `where` begins the message.
    """
    parent = name.rpartition(".")[0]
    if name in _targets:
        return
    private = "__" if is_inside(name, ("imbdet", *trusted())) else "_"
    if any(part.startswith(private) for part in name.split(".")):
        raise NotAllowed(f"{where}{name!r} is refused: a config names nothing that begins with {private!r}")
    above = is_inside(parent, PACKAGES) and any(is_inside(module, [parent]) for module in ALLOWED)
    if not (above or _is_allowed(parent)):
        raise NotAllowed(_refusal(name, where, parent))


def check_found(found: Any, holder: Any, name: str, where: str) -> None:
    """Judge what a target's name led to; `holder` is the module or class that it is an attribute of.

    Raises:
        NotAllowed: it is defined in a module that is not allowed, or is neither class nor function.
    """
    if name in _targets:
        return
    module, last = getattr(found, "__module__", None) or "", name.rpartition(".")[2]
    if not _is_allowed(module):
        raise NotAllowed(_refusal(name, where, module, "defined in"))
    bound = inspect.ismethod(found) and inspect.isclass(found.__self__)
    static = not inspect.isclass(holder) or isinstance(inspect.getattr_static(holder, last), staticmethod)
    if not (inspect.isclass(found) or bound or (inspect.isfunction(found) and static)):
        raise NotAllowed(f"{where}{name!r} is refused: a config names classes, functions and class methods")


def check_text(text: str, where: str) -> None:
    """Judge an interpolation: `${key}` is a value of the config, `${oc.env:NAME}` would call a resolver.

    Raises:
        NotAllowed: it calls a resolver that the user did not add to the trusted ones.
    """
    rest, before = text, ""
    while rest != before:
        rest, before = re.sub(r"\$\{[^${}:]*\}", "", rest), rest
    for call in re.findall(r"\$\{([^:]*)", rest):
        if call.strip() not in trusted():
            raise NotAllowed(
                f"{where}{text!r} calls the resolver {call.strip()!r}; a config holds interpolations of keys such as "
                f"${{train.seed}}, and resolvers that --trust names"
            )


def _refusal(name: str, where: str, module: str, how: str = "reached through") -> str:
    parent, _, last = name.rpartition(".")
    near = difflib.get_close_matches(parent, (*PACKAGES, *ALLOWED), 1, 0.85)
    hint = f"; did you mean {near[0]}.{last}?" if near and near[0] != parent else ""
    return (
        f"{where}{name!r} is refused: it is {how} {module or 'no module'}, and a config may name only what is meant "
        f"for configs in {', '.join(PACKAGES)}{hint}; if you trust it, add --trust {module or name}"
    )


def _is_allowed(module: str) -> bool:
    return is_inside(module, trusted()) or (is_inside(module, ALLOWED) and not is_inside(module, KEPT_OUT))
