"""The shipped controls: each says so, and changes the config of what it takes the place of."""

import pytest

from imbdet.config import changed_paths, load_config, shipped_configs
from imbdet.config.moved import present_remedy
from imbdet.config.remedy import find_remedy

CONTROLS = shipped_configs("controls")


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_says_so_and_changes_something(name):
    control = find_remedy(name)
    assert control.control and control.name == name and not find_remedy("focal_loss").control
    without = load_config(control.baseline, control.wraps)
    changed = changed_paths(without, load_config(control.baseline, [*control.wraps, name]))
    assert [path for path in changed if path != "remedies"], name


def test_controls_are_named_by_their_folder_alone():
    assert len(CONTROLS) == 11 and not any(name.startswith("controls/") for name in shipped_configs())
    with pytest.raises(ValueError, match="unknown remedy 'controls/saem'; did you mean 'controls/seam'"):
        find_remedy("controls/saem")
    with pytest.raises(ValueError, match="unknown remedy 'seam'"):
        find_remedy("seam")


def test_controls_that_were_files_are_found():
    for old in ("docs/results/controls/seam.py", "/a/place/docs/results/controls/seam.py"):
        assert find_remedy(present_remedy(old)).control
    for other in ("controls/seam", "seam.py", "my_docs/results/controls/seam.py", "docs/results/controls/a/seam.py"):
        assert present_remedy(other) == other


def test_the_word_is_true_or_false(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("control = 'focal_loss'\ndef apply(cfg):\n    cfg.train.seed = 9\n")
    with pytest.raises(ValueError, match="mine.py: control must be True or False, got 'focal_loss'"):
        find_remedy(str(path))
