"""Remedies on configs: found by name, in order, on any detector with the slot, never two on one key."""

import pytest
from omegaconf import OmegaConf

from imbdet.config import criterion_of, load_config, remedy_names, save_config


def test_one_line_serves_both_kinds_of_detector(toy_configs):
    for name in ("baselines/one_stage", "baselines/two_stage"):
        cfg = load_config(name, ["class_fg_bg/focal"])
        assert criterion_of(cfg).classification._target_.endswith("Focal")
        assert cfg.remedies == ["focal"]
    with pytest.raises(ValueError, match="has no criterion"):
        criterion_of(OmegaConf.create({"model": {"neck": None}}))


def test_an_unknown_remedy_names_the_nearest(toy_configs):
    assert remedy_names()[:2] == ["class_fg_bg/focal", "class_fg_bg/ohem"]
    with pytest.raises(ValueError, match="unknown remedy 'ohm'; did you mean 'ohem'"):
        load_config("baselines/one_stage", ["ohm"])
    with pytest.raises(ValueError, match="shipped are focal, ohem, "):
        load_config("baselines/one_stage", ["zzz"])
    with pytest.raises(ValueError, match="'nowhere.py' does not exist"):
        load_config("baselines/one_stage", ["nowhere.py"])


def test_a_remedy_file_of_ones_own(toy_configs, tmp_path):
    own = tmp_path / "mine.py"
    own.write_text("def apply(cfg):\n    cfg.train.seed = 9\n")
    cfg = load_config("baselines/one_stage", [str(own)])
    assert cfg.train.seed == 9 and cfg.remedies == [str(own)]
    own.write_text("x = 1\n")
    with pytest.raises(ValueError, match="is not a remedy: it defines no apply"):
        load_config("baselines/one_stage", [str(own)])
    own.write_text("wraps = 'focal'\ndef apply(cfg):\n    pass\n")
    with pytest.raises(ValueError, match="wraps must be a tuple"):
        load_config("baselines/one_stage", [str(own)])
    own.write_text("wraps = ('focal',)\ndef apply(cfg):\n    None.gamma = 2\n")  # as where a slot is empty
    with pytest.raises(ValueError, match=r"wraps focal; give focal\+"):
        load_config("baselines/one_stage", [str(own)])
    own.write_text("def apply(cfg):\n    return cfg\n")
    with pytest.raises(ValueError, match="return nothing"):
        load_config("baselines/one_stage", [str(own)])


def test_two_that_fill_one_slot_are_refused(toy_configs):
    with pytest.raises(ValueError, match=r"'focal' and 'ghm' both fill the slot 'classification' \(model.criterion.c"):
        load_config("baselines/one_stage", ["focal", "ghm"])
    with pytest.raises(ValueError, match="'focal' and 'ghm' both"):
        load_config("remedies/class_fg_bg/focal", ["ghm"])
    assert load_config("baselines/one_stage", ["focal", "ohem"]).remedies == ["focal", "ohem"]


def test_a_key_inside_a_node_that_another_remedy_set_collides(add_config):
    add_config("remedies/scale/deeper.py", "def apply(cfg):\n    cfg.model.criterion.classification.gamma = 3.0\n")
    with pytest.raises(ValueError, match=r"the slot 'classification' \(model.criterion.classification.gamma\)"):
        load_config("baselines/one_stage", ["focal", "deeper"])
    add_config("remedies/scale/longer.py", "def apply(cfg):\n    cfg.train.max_iter = 3\n")
    add_config("remedies/scale/shorter.py", "def apply(cfg):\n    cfg.train.max_iter = 2\n")
    with pytest.raises(ValueError, match="both change train.max_iter"):
        load_config("baselines/one_stage", ["longer", "shorter"])


def test_a_name_that_only_begins_alike_does_not_collide(add_config):
    add_config("remedies/scale/one.py", "def apply(cfg):\n    cfg.train.seed = 2\n")
    add_config("remedies/scale/two.py", "def apply(cfg):\n    cfg.train.seed_of_data = 2\n")
    for names in (["one", "two"], ["two", "one"]):
        assert load_config("baselines/one_stage", names).remedies == names


def test_a_declared_wrap_is_allowed_in_its_order_only(toy_configs):
    cfg = load_config("baselines/one_stage", ["focal", "softer"])
    assert criterion_of(cfg).classification.gamma == 1.0
    with pytest.raises(ValueError, match="gamma"):  # before focal there is nothing to soften
        load_config("baselines/one_stage", ["softer", "focal"])


def test_the_same_one_twice(toy_configs):
    for name, remedies in (("baselines/one_stage", ["focal", "focal"]), ("combined/bundle", ["ohem"])):
        with pytest.raises(ValueError, match="is given twice, or is part of"):
            load_config(name, remedies)


def test_a_saved_config_still_knows_what_its_remedies_changed(toy_configs, tmp_path):
    save_config(load_config("baselines/one_stage", ["focal"]), tmp_path / "config.yaml")
    with pytest.raises(ValueError, match="'focal' and 'ghm' both"):
        load_config(tmp_path, ["ghm"])
    with pytest.raises(ValueError, match="twice"):
        load_config(tmp_path, ["focal"])
    assert load_config(tmp_path, ["ohem"]).remedies == ["focal", "ohem"]


def test_a_slot_that_the_detector_lacks(toy_configs):
    with pytest.raises(ValueError) as info:
        load_config("baselines/one_stage", ["dropout"])
    message = str(info.value)
    assert "remedy 'dropout' needs the slot region_features" in message
    assert "'baselines/one_stage' (model Model) has the slots neck, region_sampler, classification, wei" in message
    assert load_config("baselines/two_stage", ["dropout"]).model.roi_heads.region_features.kind == "dropout"


def test_a_mistyped_key_in_apply(add_config):
    add_config("remedies/scale/typo.py", "def apply(cfg):\n    cfg.train.max_itr = 3\n")
    with pytest.raises(ValueError, match="'typo' sets train.max_itr, which .* did you mean 'train.max_iter'"):
        load_config("baselines/one_stage", ["typo"])


def test_apply_may_set_parameters_that_the_target_takes_and_no_others(add_config):
    add_config("remedies/scale/scaled.py", "def apply(cfg):\n    cfg.model.criterion.scale = 2.0\n")
    assert load_config("baselines/one_stage", ["scaled"]).model.criterion.scale == 2.0
    lines = "def apply(cfg):\n    cfg.model.criterion.scale = 2.0\n    cfg.model.criterion.scael = 2.0\n"
    add_config("remedies/scale/half.py", lines)
    with pytest.raises(ValueError, match="'half' sets model.criterion.scael"):
        load_config("baselines/one_stage", ["half"])
    lines = "def apply(cfg):\n    cfg.model.criterion.scale = 2.0\n    cfg.model.criterion.classification.x = 2.0\n"
    add_config("remedies/scale/below.py", lines)
    with pytest.raises(ValueError, match="'below' sets model.criterion.classification.x"):
        load_config("baselines/one_stage", ["below"])


def test_one_name_in_two_folders(add_config):
    add_config("remedies/scale/focal.py", "def apply(cfg):\n    cfg.train.seed = 1\n")
    with pytest.raises(ValueError, match="ambiguous: class_fg_bg/focal or scale/focal"):
        load_config("baselines/one_stage", ["focal"])


def test_a_setting_that_the_part_before_has_too_is_no_clash():
    """paa and tal both have `topk`: the second is refused for the slot, not by an error of Python."""
    with pytest.raises(ValueError, match="'paa' and 'tal' both fill the slot 'matcher'"):
        load_config("baselines/retinanet_shapes", ["paa", "tal"])
