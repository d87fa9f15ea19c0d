"""The worked examples of CONTRIBUTING.md, and what `imbdet new_remedy` writes, pass what is asked of every remedy.

All are put into a copy of the checkout, as a newcomer would, and the tests are run there.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imbdet.commands import new_remedy
from imbdet.remedies import index
from imbdet.slots import SLOTS

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GATE = ("classification", "region_sampler", "image_sampler")
RULES = [f"tests/{name}.py" for name in ("remedies/test_contract", "remedies/test_behavior")]
TABLES = "tests/commands/test_list_remedies.py"


def examples():
    """{path: text} of the page's files, each a bold heading with its path and a block of Python."""
    return dict(re.findall(r"\*\*\d\. [^\n]*?\*\*, `([\w/.]+)`[^`]*(?:`[^`]+`[^`]*)*?```python\n(.*?)```", PAGE, re.S))


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a remedy touches."""
    without = shutil.ignore_patterns("results", "images", "fuzz")
    for name in ("imbdet", "configs", "tests", "tools", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=without)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def in_a_process(checkout, words):
    """Run pytest in the checkout: return code and output."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", *words]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=900)
    return done.returncode, f"{done.stdout}\n{done.stderr}"


def forked(checkout, words):
    """The same in a copy of this process, which has torch imported already and imports our modules anew."""
    told = checkout / "told.txt"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with open(told, "w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            os.chdir(checkout)
            for name in [name for name in sys.modules if name.partition(".")[0] in ("imbdet", "tests", "conftest")]:
                del sys.modules[name]
            sys.path.insert(0, str(checkout))
            code = pytest.main(words)
            sys.stdout.flush()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told.read_text()


def check(checkout, names, run):
    """The tables are renewed, and the tests of all remedies and their own pass."""
    table = [entry for path in sorted(checkout.glob("imbdet/remedies/*/[!_]*.py")) for entry in index.read_file(path)]
    table.sort(key=lambda entry: index.IMBALANCES.index(entry.imbalance))
    for name in index.PAGES:
        page = checkout / name
        page.write_text(index.with_table(page.read_text(encoding="utf-8"), name, table), encoding="utf-8")
    own = [str(path.relative_to(checkout)) for name in names for path in checkout.rglob(f"test_{name}.py")]
    words = [
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-k",
        " or ".join([*names, "stale"]),
        *own,
        *RULES,
        TABLES,
    ]
    code, told = run(checkout, words)
    assert code == 0, told
    passed = int(re.search(r"(\d+) passed", told)[1])
    assert passed > 10 * len(names) and " skipped" not in told, told


def put(checkout, files):
    for path, text in files.items():
        (checkout / path).write_text(text, encoding="utf-8")


def test_the_page_has_two_examples_of_three_files():
    found = examples()
    assert len(found) == 6
    for name in ("class_fg_fg/inverse_frequency", "spatial_iou/iterated_boxes"):
        folder, stem = name.split("/")
        paths = f"imbdet/remedies/{name}.py", f"configs/remedies/{name}.py", f"tests/remedies/{folder}/test_{stem}.py"
        assert set(paths) <= set(found)


@pytest.mark.slow
def test_examples_and_new_remedies_pass_what_is_asked_of_all(checkout, capsys):
    put(checkout, examples())
    for slot in GATE:
        assert new_remedy.main([f"new_{slot}", "--slot", slot, "--imbalance", "scale", "--root", str(checkout)]) == 0
    assert capsys.readouterr().out.count(".py\n") == 3 * len(GATE)
    check(checkout, ["inverse_frequency", "iterated_boxes", *(f"new_{slot}" for slot in GATE)], forked)


@pytest.mark.slow
def test_new_remedies_of_every_slot_pass(checkout):
    names = [f"new_{slot}" for slot in SLOTS]
    for slot, name in zip(SLOTS, names, strict=True):
        new_remedy.main([name, "--slot", slot, "--imbalance", "objective", "--root", str(checkout)])
    check(checkout, names, in_a_process)
    for words in (["check"], ["format", "--check"]):
        subprocess.run([sys.executable, "-m", "ruff", *words, "imbdet", "configs", "tests"], cwd=checkout, check=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Focal", "--slot", "weighting"], "in small letters"),
        (["focal_loss", "--slot", "weighting"], "is taken by configs/remedies/class_fg_bg/focal_loss.py"),
        (["boxes", "--slot", "weighting"], "a remedy's name must be unique"),
        (["new_one", "--slot", "weighting", "--root", "docs"], "is not a checkout of imbdet"),
    ],
)
def test_what_new_remedy_refuses(words, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValueError, match=message):
        new_remedy.main([*words, "--imbalance", "scale"])
    assert not list(ROOT.rglob("new_one.py"))
