"""What every remedy must keep, checked on each one found.

There are no exceptions: a rule that a remedy has a good reason to break is the wrong rule.
"""

import ast
import doctest
import importlib
import inspect
import os
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from imbdet.config import load_config, remedy_names
from imbdet.config.difference import changed_paths
from imbdet.config.docstrings import FIELDS
from imbdet.config.files import run_file
from imbdet.remedies import index
from imbdet.slots import slot_at
from tests.helpers import SHAPES, fitting, load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=index.entries(), ids=lambda entry: f"{entry.name}:{entry.target.rsplit('.', 1)[-1]}")
def entry(request):
    return request.param


def test_code_config_and_test_come_together():
    code = {f"{entry.imbalance}/{entry.name}" for entry in index.entries()}
    tests = {
        path.relative_to(ROOT / "tests" / "remedies").as_posix().replace("test_", "").removesuffix(".py")
        for path in (ROOT / "tests" / "remedies").glob("*/test_*.py")
    }
    assert code == set(remedy_names()) == tests
    stems = [name.rsplit("/", 1)[-1] for name in code]
    assert len(stems) == len(set(stems)), "a remedy's name must be unique over all folders"


def test_three_files(entry):
    found = [
        os.path.join(folder, name)
        for top in ("imbdet", "configs", "tests", "tools", "docs")
        for folder, _, names in os.walk(ROOT / top)
        for name in names
        if name in (f"{entry.name}.py", f"test_{entry.name}.py")
    ]
    assert len(found) == 3, found


def test_every_folder_explains_its_imbalance():
    for imbalance in index.IMBALANCES:
        text = ast.get_docstring(ast.parse((ROOT / "imbdet" / "remedies" / imbalance / "__init__.py").read_text()))
        assert text and "The number that shows it:" in text and f"--imbalance {imbalance}" in " ".join(text.split())
    folders = {path.parent.name for path in (ROOT / "imbdet" / "remedies").glob("*/__init__.py")}
    assert folders == set(index.IMBALANCES)


def test_docstring_fields(entry):
    missing = [name for name in FIELDS if not entry.fields.get(name)]
    assert not missing, f"{entry.target}: the docstring lacks {missing}"
    assert list(entry.fields) == list(FIELDS), "the fields have a fixed order"
    assert entry.slots, f"Slot: names none of the slots, got {entry.fields['Slot']!r}"
    assert entry.fields["Imbalance"].split()[0].strip(",.") == entry.imbalance
    assert re.search(r"\b(19|20)\d\d\b", entry.fields["Source"]), "Source: needs a year"


def test_home_is_a_detector_that_takes_it(entry):
    assert entry.home in index.HOMES, f"Home: begins with one of {index.HOMES}, got {entry.fields['Home']!r}"
    assert index.home_baseline(entry.name) in fitting(entry)
    baseline = run_file(ROOT / "configs" / "remedies" / entry.imbalance / f"{entry.name}.py")["baseline"]
    assert index.home_baseline(entry.name) == baseline, "the config of a remedy stands on its home detector"


def test_the_example_runs(entry):
    if "balance" in entry.slots:
        pytest.importorskip("imblearn", reason="the extra `sampling` is not installed")
    module = importlib.import_module(entry.target.rsplit(".", 1)[0])
    examples = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert examples, f"{entry.target} has no example (>>>)"
    for test in examples:
        report: list[str] = []
        failed = doctest.DocTestRunner().run(test, out=report.append).failed
        assert failed == 0, "".join(report)


def test_the_config_says_what_it_does(entry):
    names = run_file(ROOT / "configs" / "remedies" / entry.imbalance / f"{entry.name}.py")
    assert names.get("__doc__") and isinstance(names["baseline"], str)
    assert list(inspect.signature(names["apply"]).parameters) == ["cfg"]
    cfg = load_config(f"remedies/{entry.imbalance}/{entry.name}")
    assert cfg.remedies[-1] == entry.name


def test_it_fills_its_slots_with_its_class(entry):
    baselines = fitting(entry)
    assert baselines, f"no shapes baseline has the slots {entry.slots}, so nothing tests the remedy in training"
    for baseline in baselines:
        plain, cfg = load(baseline), load(baseline, entry.name)
        changed = {slot_at(path) for path in changed_paths(plain, cfg)}
        assert set(entry.slots) <= changed, f"on {baseline} it leaves {set(entry.slots) - changed} as it was"
        assert entry.target.rsplit(".", 1)[0] in str(OmegaConf.to_container(cfg, resolve=False))


def test_elsewhere_it_is_refused_by_name(entry):
    for baseline in set(SHAPES) - set(fitting(entry)):
        with pytest.raises(ValueError, match=f"remedy '{entry.name}' (needs the slot|does not fit.*its home is)"):
            load_config(baseline, [entry.name])
