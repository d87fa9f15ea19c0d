"""Imports between the parts of the package go downwards, and no file imports what imports it.

Files are parsed, not imported, and imports inside functions count like those at the top.
"""

import ast
from pathlib import Path

import pytest

import imbdet

ROOT = Path(imbdet.__file__).parent
#: bottom first; parts of one line do not import each other
LAYERS = (
    ("structures", "write", "mistakes", "cores"),
    ("",),
    ("slots",),
    ("config",),
    ("data",),
    ("modeling",),
    ("evaluation", "runs"),
    ("remedies",),
    ("engine",),
    ("compare", "export"),
    ("report",),
    ("diagnose",),  # a page of its own, drawn with the report's parts, that also reads comparisons
    ("balance",),  # with the measures and the near-duplicates of a diagnosis
    ("testing", "detectron2"),
    ("commands",),
    ("cli",),
)
#: {(who, whom): why} of imports that go up
UPWARD: dict[tuple[str, str], str] = {}


def files():
    """{"imbdet.config.load": its path}."""
    paths = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


def imports(name, path, known, inside_functions=True):
    """Our files that this one imports; those for a type checker alone are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes, skipped = list(ast.walk(tree)), set()
    for node in nodes:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            skipped.update(ast.walk(node))
        if not inside_functions and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            skipped.update(ast.walk(node))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes:
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            found = (f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base for alias in node.names)
            yield from (one for one in found if one in known and one != name)


def part(name):
    return name.split(".")[1] if "." in name else ""


@pytest.fixture(scope="module")
def graph():
    known = files()
    return {name: set(imports(name, path, known)) for name, path in known.items()}


def test_imports_go_downwards(graph):
    height = {name: level for level, names in enumerate(LAYERS) for name in names}
    unknown = {part(name) for name in graph} - set(height)
    assert not unknown, f"give these parts a layer: {unknown}"
    arrows = {(part(a), part(b)): f"{a} imports {b}" for a, names in graph.items() for b in names}
    up = {pair: what for pair, what in arrows.items() if pair[0] != pair[1] and height[pair[1]] >= height[pair[0]]}
    assert {pair: what for pair, what in up.items() if pair not in UPWARD} == {}
    assert set(UPWARD) <= set(up), "an exception that is none any more"


def reached(graph, start):
    seen, stack = set(), [start]
    while stack:
        for name in graph[stack.pop()] - seen:
            seen.add(name)
            stack.append(name)
    return seen


def test_no_file_imports_what_imports_it(graph):
    circles = {frozenset({name, *(b for b in reached(graph, name) if name in reached(graph, b))}) for name in graph}
    circles = [circle for circle in circles if len(circle) > 1]
    assert [sorted(circle) for circle in circles] == []


def test_the_parser_of_imports_sees_all_kinds(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "import imbdet.b\nfrom . import c\nfrom .d import x\nfrom ..e import y\nfrom imbdet.f import z\nimport os\n"
        "if TYPE_CHECKING:\n    from . import h\ndef f():\n    from .. import g\n"
    )
    known = {f"imbdet.{one}" for one in "befg"} | {f"imbdet.p.{one}" for one in "cdh"}
    found = set(imports("imbdet.p.a", path, known))
    assert found == known - {"imbdet.p.h"}
    assert set(imports("imbdet.p.a", path, known, inside_functions=False)) == found - {"imbdet.g"}
