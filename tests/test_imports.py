"""Every library that is imported is declared in setup.py; no test module imports another."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = {"imbdet", "benchmarks"}
#: what a user brings along -> why it cannot be declared
BROUGHT = {"detectron2": "no release of it installs from the registry; imbdet.detectron2 works inside a user's own"}


@cache
def imported(folder):
    """{top module: a file that imports it} of all files below a folder, wherever in the file."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            found.update({name.partition(".")[0]: path.relative_to(ROOT).as_posix() for name in names})
    return found


def declared(names=("REQUIRES", "EXTRAS")):
    """Names of distributions in setup.py, small and with "-"."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    nodes = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id in names]
    values = [value for node in nodes for value in ast.walk(node) if isinstance(value, ast.Constant)]
    return {re.split(r"[<>=]", value.value)[0].lower().replace("_", "-") for value in values}


def provided(name):
    """The top modules that a distribution brings; its own name alone where it is not installed."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return {name.replace("-", "_")}
    stated = set((found.read_text("top_level.txt") or "").split())  # where it is there, a thousandth of the time
    return stated or {file.parts[0].removesuffix(".py") for file in found.files or () if file.suffix == ".py"}


def test_every_import_is_declared():
    known = {module for name in declared() for module in provided(name)}
    missing = {}
    for folder in ("imbdet", "configs", "benchmarks"):
        ours = OURS | {"tests"} if folder == "benchmarks" else OURS  # neither is in the package
        for name, path in imported(folder).items():
            if name in sys.stdlib_module_names or name in ours or name in BROUGHT:
                continue
            if name not in known:
                missing[name] = path
    assert not missing, f"not declared in setup.py: {missing}"


def test_the_check_sees_what_is_declared():
    assert {"torch", "pyyaml", "ray"} <= declared() and "ray" not in declared(("REQUIRES",))
    assert {"torch", "yaml", "tqdm"} <= set(imported("imbdet"))


def test_no_test_module_imports_another():
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not re.search(r"(?<!def )\btest_", text):  # most files name no test but their own
            continue
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, (ast.Import, ast.ImportFrom)) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.relative_to(ROOT)} imports {name}" for name in names if re.search(r"(^|\.)test_", name)]
    assert not found, "what two tests share belongs into a helpers module: " + "; ".join(found)
