"""The worked example of CONTRIBUTING.md works: it loads, applies, takes a training step and passes its own tests."""

import doctest
import re
import sys
import types
from pathlib import Path

import pytest

from imbdet import instantiate, load_config
from imbdet.remedies.index import FIELDS, parse

PAGE = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"
MODULE = "imbdet.remedies.class_fg_fg.inverse_frequency"


@pytest.fixture
def blocks(monkeypatch):
    """The three files, the first of them importable under its name."""
    remedy, config, test = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    module = types.ModuleType(MODULE)
    exec(compile(remedy, "inverse_frequency.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, MODULE, module)
    return module, config, test


def test_example_passes_its_own_tests_and_doctest(blocks):
    module, _, test = blocks
    space = {}
    exec(compile(test, "test_inverse_frequency.py", "exec"), space)
    tests = [function for name, function in space.items() if name.startswith("test_")]
    for function in tests:
        function()
    assert len(tests) == 4
    found = doctest.testmod(module)
    assert found.attempted == 2 and not found.failed


def test_example_has_the_fixed_lines_of_a_docstring(blocks):
    fields = parse(blocks[0].InverseFrequency.__doc__)
    assert tuple(fields) == FIELDS and fields["Slot"] == "weighting" and fields["Imbalance"] == "class_fg_fg"


@pytest.mark.parametrize("config", ["baselines/faster_rcnn_shapes", "baselines/retinanet_shapes"])
def test_example_fills_its_slot_in_both_kinds_of_detector(blocks, tmp_path, config):
    path = tmp_path / "inverse_frequency.py"
    path.write_text(blocks[1])
    cfg = load_config(config, remedies=[str(path)], overrides=["data.train.num_images=40"])
    model = instantiate(cfg.model)
    criterion = model.criterion if hasattr(model, "criterion") else model.roi_heads.criterion
    table = criterion.weighting.table
    counts = instantiate(cfg.data.train).class_counts()
    assert len(table) == len(counts) + 1 and int(table[:-1].argmax()) == int(counts.argmin())
    records = instantiate(cfg.data.train)
    losses, stats = model([records.images[0]], [records.target(0)])
    assert all(loss.isfinite() for loss in losses.values())
    assert any("inverse_frequency/mean" in name for name in stats)
