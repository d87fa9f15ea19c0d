"""Find config files and run python ones.

What is notable here: a config file's relative imports (`from ..common.train import train`) name other config *files*,
wherever the folder lies, and each import runs the named file afresh, so what it returns is shared with nobody. The
import hook lives in the builtins of the config file alone: `builtins.__import__` is never replaced, other modules and
threads never see it, and there is nothing to restore when a file fails.
"""

import builtins
import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ..slots import is_inside
from .allowed import may_run, trust_target

_SUFFIXES = (".py", ".yaml", ".yml")
_PUBLIC = "imbdet.configs"  # absolute name of the shipped folder: `from imbdet.configs.common.train import train`


def configs_dir() -> Path:
    """Return the folder of shipped configs: inside the package when installed, beside it in a checkout.

    Raises:
        FileNotFoundError: neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "common").is_dir():
            return folder
    raise FileNotFoundError(f"the shipped configs are missing: neither in {package} nor in {package.parent}")


def python_files(folder: Path) -> list[str]:
    """Return the paths of the Python files in and below `folder`; a third of the time of `Path.rglob`."""
    return [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names if name.endswith(".py")]


def shipped_names(folder: Path, root: Path) -> list[str]:
    """Return "class_fg_bg/focal_loss" and so on: the public Python files below `folder` by their place in `root`."""
    found = (os.path.relpath(path, root)[:-3] for path in python_files(folder))
    return sorted(name.replace(os.sep, "/") for name in found if not os.path.basename(name).startswith("_"))


def shipped_configs(*kinds: str) -> list[str]:
    """Return names of the shipped runnable configs, e.g. "baselines/faster_rcnn_shapes", sorted.

    Args:
        kinds: of "baselines", "remedies", "combined", "controls"; none means the first three.
    """
    root = configs_dir()
    folders = kinds or ("baselines", "remedies", "combined")
    return sorted(name for kind in folders for name in shipped_names(root / kind, root))


def find_config(name: str | os.PathLike) -> Path:
    """Return the file that `name` means: a path (absolute or from here), a run's folder, or a shipped config's name.

    A shipped config may be named with or without "configs/" and ".py"; a file found from here goes first.

    Raises:
        FileNotFoundError: there is none; the message names the nearest shipped ones.
        ValueError: the file is neither Python nor YAML.
    """
    text = os.fspath(name)
    if not text:
        raise FileNotFoundError("the config's name is empty; give a file, a run's folder or a shipped config")
    for path in _candidates(text):
        if path.is_file():
            if path.suffix not in _SUFFIXES:
                raise ValueError(f"config {text!r}: a config is a .py, .yaml or .yml file")
            return path.resolve()
    names = shipped_configs()
    wanted = text.removesuffix(".py").removeprefix("./").removeprefix("configs/")
    stems = {name.rsplit("/", 1)[-1]: name for name in names}
    near = [stems[stem] for stem in difflib.get_close_matches(wanted.rsplit("/", 1)[-1], stems, 3, 0.6)]
    near += [name for name in difflib.get_close_matches(wanted, names, 3, 0.5) if name not in near]
    shipped = shipped_configs("baselines")
    hint = f"did you mean {' or '.join(near[:3])}?" if near else f"shipped baselines are {', '.join(shipped) or 'none'}"
    raise FileNotFoundError(f"config {text!r} exists neither in {os.getcwd()} nor among the shipped ones; {hint}")


def _candidates(text: str) -> Iterator[Path]:
    path = Path(text).expanduser()
    yield path
    yield path / "config.yaml"  # the folder of a run
    for suffix in _SUFFIXES:
        yield Path(f"{path}{suffix}")
    if not path.is_absolute():
        shipped = configs_dir() / text.removeprefix("./").removeprefix("configs/")
        yield shipped
        yield Path(f"{shipped}.py")


def refuse_code(*names: str | os.PathLike) -> None:
    """Raise ValueError for a Python file that a file names, if it is neither shipped nor trusted."""
    for name in map(os.fspath, names):
        shipped = Path(name).resolve().is_relative_to(configs_dir().resolve())
        if name.endswith(".py") and not shipped and not may_run(name):
            raise ValueError(f"{name} is Python code that a file names; to have it run, add --trust {name}")


def read_text(path: Path) -> str:
    """Return the text of a config file.

    Raises:
        ValueError: it is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"config {path} is not a text file: {error}") from error


def run_file(path: Path, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Run a python config and return its names. `chain` holds the files whose imports led here.

    Raises:
        ValueError: the files import each other in a circle, or the file has a syntax error.
        Whatever the file itself raises.
    """
    path = path.resolve()
    if path in chain:
        raise ValueError("config files import each other in a circle: " + " -> ".join(map(str, (*chain, path))))
    name = f"imbdet_config_file.{path.stem}"  # importable by nobody: a function defined here cannot be a _target_
    hooked = {**vars(builtins), "__import__": _importer(path, (*chain, path))}
    namespace = {"__file__": str(path), "__name__": name, "__package__": "imbdet_config_file", "__builtins__": hooked}
    try:
        code = compile(read_text(path), str(path), "exec")
    except SyntaxError as error:
        raise ValueError(f"config {path}, line {error.lineno}: {error.msg}") from error
    trust_target(str(path))
    exec(code, namespace)
    return namespace


def _importer(importing: Path, chain: tuple[Path, ...]):
    """`__import__` for one config file: relative names and those below `imbdet.configs` are config files."""

    def imports(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> ModuleType:
        if level == 0 and not is_inside(name, [_PUBLIC]):
            return builtins.__import__(name, globals, locals, fromlist, level)
        if level == 0:
            folder, name = configs_dir(), name.removeprefix(_PUBLIC).removeprefix(".")
        else:
            folder = importing.parents[level - 1]
        target = folder.joinpath(*name.split(".")) if name else folder
        if not fromlist:
            raise ImportError(f"config {importing}: write `from {_PUBLIC}.x import y`, not `import {_PUBLIC}.x`")
        if target.is_dir():
            parts = {part: _module(target / part, importing, chain) for part in fromlist if part != "*"}
            return _as_module(name, parts)
        module = _module(target, importing, chain)
        for wanted in fromlist:
            if wanted != "*" and not hasattr(module, wanted):
                names = [n for n in vars(module) if not n.startswith("_")]
                near = difflib.get_close_matches(wanted, names, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(names)}"
                raise ImportError(f"config {importing}: {target}.py has no {wanted!r}; {hint}")
        return module

    return imports


def _module(target: Path, importing: Path, chain: tuple[Path, ...]) -> ModuleType:
    path = Path(f"{target}.py")
    if not path.is_file():
        names = [p.stem for p in target.parent.glob("*.py")]
        near = difflib.get_close_matches(target.name, names, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ImportError(f"config {importing} imports {path}, which does not exist{hint}")
    return _as_module(target.name, run_file(path, chain))


def _as_module(name: str, namespace: Mapping[str, Any]) -> ModuleType:
    module = ModuleType(name)
    vars(module).update({key: value for key, value in namespace.items() if key != "__builtins__"})
    return module
