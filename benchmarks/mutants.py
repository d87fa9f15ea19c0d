"""Do the tests notice a fault? Plants one small fault at a time in the core and runs the tests of that module.

    make mutants N=60                                     the share that is noticed, and where a fault was not
    python -m benchmarks.mutants 200 --seed 1 --modules imbdet/modeling/criterion.py

Notable: a fault is planted in a copy of the tree, never in the checkout. Each one has a process of its own, forked from
one that has the libraries but nothing of imbdet: a fault costs the seconds of its tests, not those of importing torch.
"""

import argparse
import ast
import copy
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("torch", "torchvision", "timm", "numpy", "omegaconf", "pycocotools", "hotcoco", "pytest", "scipy.stats")
SECONDS = 60  #: of CPU; a fault that makes an endless loop is noticed
#: what is mutated when no modules are named -> tests besides those that are named after the module
CORE = {
    "imbdet/modeling/criterion.py": (),
    "imbdet/modeling/boxes.py": (),
    "imbdet/modeling/defaults.py": (
        "tests/modeling/test_matching.py",
        "tests/modeling/test_region_sampling.py",
        "tests/modeling/test_criterion.py",
    ),
    "imbdet/data/samplers.py": (),
    "imbdet/data/statistics.py": (),
    "imbdet/evaluation/significance.py": (),
    "imbdet/remedies/class_fg_bg/focal_loss.py": (),
    "imbdet/remedies/class_fg_bg/ohem.py": (),
    "imbdet/remedies/class_fg_bg/ghm_c.py": (),
    "imbdet/remedies/class_fg_fg/class_weights.py": (),
    "imbdet/remedies/class_fg_fg/seesaw.py": (),
    "imbdet/remedies/class_fg_fg/repeat_factor_sampling.py": (),
    "imbdet/remedies/spatial_regression/giou_loss.py": (),
    "imbdet/remedies/spatial_location/atss.py": (),
    "imbdet/remedies/spatial_location/simota.py": (),
}
SWAPS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


def faulty(node):
    """A copy of the node with one fault in itself, None where there is nothing to plant."""
    other = copy.deepcopy(node)
    if isinstance(node, ast.Compare):
        other.ops[0] = SWAPS[type(node.ops[0])]()
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in SWAPS:
        other.op = SWAPS[type(node.op)]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return other.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        other.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return ast.Pass()
    else:
        return None
    return other


def places(tree):
    """[(parent, field, index or None)] of all nodes in which a fault can be; not in messages and annotations."""
    found, stack = [], [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.Raise, ast.JoinedStr)):
            continue
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST):
                    stack.append(child)
                    if faulty(child) is not None:
                        found.append((node, field, index))
    return found


def planted(text, number):
    """Fault `number` of a module: (line, what was there, what is there now, the module's new text)."""
    tree = ast.parse(text)
    parent, field, index = places(tree)[number]
    child = getattr(parent, field) if index is None else getattr(parent, field)[index]
    new = faulty(child)
    if index is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[index] = new
    return child.lineno, ast.unparse(child), ast.unparse(new), ast.unparse(ast.fix_missing_locations(tree))


def tests_of(module):
    """The tests that belong to a module by their names, those that CORE adds, and the declared defaults."""
    path = Path(module)
    folder = Path("tests", *path.parts[1:-1])
    named = sorted(str(p.relative_to(ROOT)) for p in (ROOT / folder).glob(f"test_{path.stem}*.py"))
    named += [str(folder / path.stem)] if (ROOT / folder / path.stem).is_dir() else []
    found = [*named, *CORE.get(module, ())]
    return [*found, "tests/remedies/test_declared.py"] if found else []


def run_tests(tree, tests):
    """Run tests in a forked process: "passed", "failed" or "no answer"."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        os.chdir(tree)
        sys.path.insert(0, str(tree))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        import pytest

        os._exit(int(pytest.main(["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests])))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return {0: "passed", 1: "failed", 2: "failed"}.get(code, "no answer" if code < 0 else "failed")


def copied_tree():
    tree = Path(tempfile.mkdtemp(prefix="imbdet-mutants-")).resolve()
    for name in ("imbdet", "configs", "tests", "benchmarks", "tools"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tree)
    return tree


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("number", nargs="?", type=int, default=60, metavar="N", help="faults in all (default 60)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--modules", nargs="*", default=list(CORE), metavar="FILE", help="default: CORE")
    options = parser.parse_args()
    for name in LIBRARIES:
        __import__(name)
    os.environ.update(PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    sys.dont_write_bytecode = True  # a module that is written twice within a second would be read from its bytecode
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in options.modules}
    all_faults = [(name, number) for name, text in texts.items() for number in range(len(places(ast.parse(text))))]
    chosen = random.Random(options.seed).sample(all_faults, min(options.number, len(all_faults)))
    tree, began, survivors, sound = copied_tree(), time.monotonic(), [], {}
    try:
        for done, (name, number) in enumerate(chosen, 1):
            tests = tests_of(name)
            if name not in sound:
                sound[name] = bool(tests) and run_tests(tree, tests) == "passed"
            if not sound[name]:
                sys.exit(f"{name}: its tests ({' '.join(tests) or 'none'}) fail without a fault")
            line, before, after, text = planted(texts[name], number)
            (tree / name).write_text(text, encoding="utf-8")
            answer = run_tests(tree, tests)
            (tree / name).write_text(texts[name], encoding="utf-8")
            said = f"{name}:{line}: {before} -> {after}"
            survivors += [said] if answer == "passed" else []
            noticed = "NOT NOTICED" if answer == "passed" else "noticed"
            print(f"{done} of {len(chosen)}, {time.monotonic() - began:.0f} s: {noticed}  {said}", flush=True)
    finally:
        shutil.rmtree(tree)
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} faults (seed {options.seed}) are noticed; not these:")
    print("\n".join(survivors) or "none")


if __name__ == "__main__":
    main()
