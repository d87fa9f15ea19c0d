"""Finding config files and running python ones."""

import builtins

import pytest

from imbdet.config import configs_dir, find_config, load_config, shipped_configs
from imbdet.config.files import run_file


def test_names_that_find_a_shipped_config(toy_configs, tmp_path, monkeypatch):
    expected = toy_configs / "baselines" / "one_stage.py"
    for name in ("baselines/one_stage", "baselines/one_stage.py", "configs/baselines/one_stage.py", expected):
        assert find_config(name) == expected
    monkeypatch.chdir(toy_configs / "baselines")
    assert find_config("one_stage") == find_config("./one_stage.py") == expected


def test_a_file_found_from_here_goes_first(toy_configs, tmp_path, monkeypatch):
    (tmp_path / "baselines").mkdir()
    own = tmp_path / "baselines" / "one_stage.yaml"
    own.write_text("train: {max_iter: 1}\n")
    monkeypatch.chdir(tmp_path)
    assert find_config("baselines/one_stage") == own
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("train: {max_iter: 2}\n")
    assert load_config(run).train.max_iter == 2


def test_a_config_that_does_not_exist_names_the_nearest(toy_configs):
    with pytest.raises(FileNotFoundError, match="did you mean baselines/two_stage"):
        find_config("configs/baselines/tow_stage.py")
    with pytest.raises(FileNotFoundError, match="shipped baselines are baselines/one_stage, "):
        find_config("zzzzzzzzz")
    with pytest.raises(FileNotFoundError, match="empty"):
        find_config("")


def test_a_file_of_another_kind_is_refused(toy_configs):
    (toy_configs / "weights.pth").write_text("")
    with pytest.raises(ValueError, match="is a .py, .yaml or .yml file"):
        find_config("weights.pth")


def test_shipped_configs_are_listed(toy_configs):
    assert shipped_configs("baselines") == ["baselines/one_stage", "baselines/two_stage"]
    assert "remedies/class_fg_bg/focal" in shipped_configs()
    assert not any(name.startswith("common") for name in shipped_configs())


def test_each_import_gives_fresh_objects(add_config):
    path = add_config(
        "baselines/twice.py",
        """
        from ..common.train import train
        from ..common.train import train as again
        from ..common import train as module
        train["max_iter"] = 1
        assert again["max_iter"] == 100 and module.train["max_iter"] == 100
        """,
    )
    assert load_config(path).train.max_iter == 1
    assert load_config("baselines/two_stage").train.max_iter == 100


def test_star_and_absolute_imports(add_config, tmp_path):
    add_config("baselines/star.py", "from ..common.train import *\n")
    assert load_config("baselines/star").train.seed == 3
    own = tmp_path / "own.py"  # outside of the configs folder, so without relative imports
    own.write_text("from imbdet.configs.common.train import train\nfrom imbdet.configs.common import one_stage\n")
    assert load_config(own).train.seed == 3


def test_the_import_hook_stays_in_the_config(add_config):
    before = builtins.__import__
    path = add_config("baselines/looks.py", "import builtins\nraise KeyError(builtins.__import__)\n")
    with pytest.raises(KeyError) as info:
        run_file(path)
    assert info.value.args == (before,) and builtins.__import__ is before


def test_imports_that_fail(add_config):
    add_config("baselines/a.py", "from ..common.trian import train\n")
    with pytest.raises(ImportError, match=r"trian.py, which does not exist; did you mean 'train'"):
        load_config("baselines/a")
    add_config("baselines/b.py", "from ..common.train import trian\n")
    with pytest.raises(ImportError, match="has no 'trian'; did you mean 'train'"):
        load_config("baselines/b")
    add_config("baselines/c.py", "import imbdet.configs.common.train\n")
    with pytest.raises(ImportError, match="write `from imbdet.configs.x import y`"):
        load_config("baselines/c")
    add_config("baselines/d.py", "from .e import x\n")
    add_config("baselines/e.py", "from .d import x\n")
    with pytest.raises(ValueError, match="in a circle.*d.py -> .*e.py -> .*d.py"):
        load_config("baselines/d")
    add_config("baselines/f.py", "x = (\n")
    with pytest.raises(ValueError, match=r"f.py, line 1"):
        load_config("baselines/f")


def test_a_function_of_a_config_file_cannot_be_a_target(add_config):
    add_config(
        "baselines/g.py", "from imbdet.config import LazyCall as L\ndef f():\n    pass\nmodel = dict(a=L(f)())\n"
    )
    with pytest.raises(ValueError, match="must move into an importable module"):
        load_config("baselines/g")


def test_the_real_folder_is_found():
    assert (configs_dir() / "common" / "train.py").is_file()
