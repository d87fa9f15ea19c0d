"""Loading, saving, loading again."""

import os

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError

from imbdet.config import baseline_of, find_config, instantiate, load_config, save_config, to_yaml


def plain(cfg):
    return OmegaConf.to_container(cfg, resolve=False)


def test_a_python_config(toy_configs):
    cfg = load_config("baselines/one_stage")
    assert set(cfg) == {"model", "train", "data", "remedies", "loss_scale"}
    assert plain(cfg.train)["sizes"] == [1, 2]  # a tuple in the file
    assert plain(cfg)["model"]["width"] == "${train.seed}" and cfg.model.width == 3
    assert instantiate(cfg.model).criterion.weighting is None
    assert cfg.remedies == []


def test_config_then_remedies_then_overrides(toy_configs):
    cfg = load_config("baselines/one_stage", ["focal"], ["model.criterion.classification.gamma=0.5"])
    assert instantiate(cfg.model).criterion.classification.gamma == 0.5
    assert cfg.remedies == ["focal"]


def test_a_remedys_own_config_and_a_bundle(toy_configs):
    assert load_config("remedies/class_fg_bg/focal").remedies == ["focal"]
    assert load_config("remedies/class_fg_fg/softer").remedies == ["focal", "softer"]
    bundle = load_config("combined/bundle")
    assert bundle.remedies == ["focal", "ohem"]
    assert bundle.model.roi_heads.criterion.weighting.kind == "ohem"
    assert baseline_of("remedies/class_fg_fg/softer") == "baselines/one_stage"
    assert baseline_of("baselines/two_stage") == "baselines/two_stage"


def test_an_unknown_key_cannot_be_set_from_python(toy_configs):
    cfg = load_config("baselines/one_stage", ["focal"])
    for node in (cfg.train, cfg.model.criterion.classification):
        with pytest.raises(ConfigAttributeError, match="max_itr"):
            node.max_itr = 3
    assert cfg.train.get("max_itr", 7) == 7


@pytest.mark.parametrize("name", ["baselines/one_stage", "remedies/class_fg_fg/softer", "combined/bundle"])
def test_saved_and_loaded_again_it_is_equal(toy_configs, tmp_path, name):
    cfg = load_config(name, overrides=["train.output_dir=no", "data.root='1e-3'", "train.max_iter=null"])
    save_config(cfg, tmp_path / "config.yaml")
    again = load_config(tmp_path / "config.yaml")
    assert plain(again) == plain(cfg) and list(again) == list(cfg)
    assert "${data.root}" in (tmp_path / "config.yaml").read_text()
    assert type(instantiate(again.model)) is type(instantiate(cfg.model))


def test_a_failed_save_leaves_the_old_file_and_nothing_else(toy_configs, tmp_path, monkeypatch):
    cfg, path = load_config("baselines/one_stage"), tmp_path / "out" / "config.yaml"
    save_config(cfg, path)
    before = path.read_text()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_config(load_config("baselines/two_stage"), path)
    assert path.read_text() == before and os.listdir(path.parent) == ["config.yaml"]


def test_resolved_yaml(toy_configs):
    assert "width: 3" in to_yaml(load_config("baselines/one_stage"), resolve=True)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "- 1\n- 2\n", "must be a mapping of keys, got list"),
        ("b.yaml", "", "must be a mapping of keys, got NoneType"),
        ("c.py", "x = 1\n", "defines nothing"),
        ("d.py", "baseline = 3\n", "baseline must be the name of a config, got 3"),
        ("e.py", "baseline = 'baselines/one_stage'\n", "neither apply"),
        ("f.py", "baseline = 'baselines/one_stage'\nremedies = 'focal'\n", "remedies must be a list of names"),
        ("g.py", "baseline = 'baselines/g'\nremedies = ['focal']\n", "name each other as baseline in a circle"),
    ],
)
def test_files_that_are_no_config(add_config, name, text, message):
    add_config(f"baselines/{name}", text)
    with pytest.raises(ValueError, match=message):
        load_config(f"baselines/{name}")


def test_a_file_that_is_no_text(toy_configs):
    (toy_configs / "weights.yaml").write_bytes(b"\x80\x02}q\xff")
    with pytest.raises(ValueError, match="weights.yaml is not a text file"):
        load_config("weights.yaml")


def test_a_single_string_is_not_a_list(toy_configs):
    with pytest.raises(ValueError, match="remedies must be a list"):
        load_config("baselines/one_stage", "focal")
    with pytest.raises(ValueError, match="overrides must be a list"):
        load_config("baselines/one_stage", overrides="train.max_iter=3")


def test_a_shipped_config_is_fresh_each_time_and_read_again_when_a_file_changes(toy_configs):
    first, second = load_config("baselines/one_stage"), load_config("baselines/one_stage")
    first.model.criterion.classification = None
    assert second.model.criterion.classification is not None
    path = find_config("baselines/one_stage")
    path.write_text(path.read_text() + "\ntrain['max_iter'] = 4321\n")
    assert load_config("baselines/one_stage").train.max_iter == 4321
