"""Saved configs with the names of before: they load, build, and are not taken for changed."""

import pytest

from imbdet.config import instantiate, load_config, locate, save_config
from imbdet.config.moved import MOVED, present_name
from imbdet.engine.run_folder import plain, refuse_changes

OLD = {
    "SigmoidCrossEntropy": "classification",
    "SoftmaxCrossEntropy": "classification",
    "ThresholdMatcher": "matching",
    "Considered": "normalizers",
    "PerImage": "normalizers",
    "FixedWeights": "objective",
    "RandomSampling": "region_sampling",
    "SmoothL1": "regression",
}


def test_an_older_run_loads_builds_and_resumes(tmp_path):
    cfg = load_config("baselines/faster_rcnn_shapes")
    save_config(cfg, tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    for name, module in OLD.items():
        assert f"imbdet.modeling.defaults.{name}" in text
        text = text.replace(f"imbdet.modeling.defaults.{name}", f"imbdet.modeling.{module}.{name}")
    (tmp_path / "config.yaml").write_text(text)
    again = load_config(tmp_path)
    assert again == cfg
    again.model.num_classes = 3
    instantiate(again.model)
    old = plain(cfg)
    old["model"]["rpn"]["criterion"]["regression"]["_target_"] = "imbdet.modeling.regression.SmoothL1"
    assert refuse_changes(old, plain(cfg), tmp_path) == []


@pytest.mark.parametrize("module", MOVED)
def test_the_old_modules_are_gone_and_their_names_found(module):
    name = {"region_features": "Chain"}.get(module.rsplit(".", 1)[-1]) or next(
        name for name, old in OLD.items() if module.endswith(f".{old}")
    )
    assert locate(f"{module}.{name}") is locate(f"imbdet.modeling.defaults.{name}")
    assert present_name("imbdet.modeling.heads.BoxHead") == "imbdet.modeling.heads.BoxHead"
    with pytest.raises(ImportError):
        __import__(module)
