"""Every shipped config: loads, is saved, loads equal, names importable things, stands on the common parts."""

import pytest
from omegaconf import OmegaConf

from imbdet.config import load_config, locate, save_config, shipped_configs
from imbdet.config.keys import walk
from imbdet.config.lazy import plain

SHIPPED = shipped_configs() or [pytest.param("", marks=pytest.mark.skip(reason="no config is shipped yet"))]


@pytest.fixture(scope="module", params=SHIPPED)
def shipped(request):
    return request.param, load_config(request.param)


def sampled(names):
    """All baselines and bundles, and every fifth other in the gate; the rest is slow."""
    for i, name in enumerate(names):
        spared = "remedies/" in name or "controls/" in name
        yield pytest.param(name, marks=pytest.mark.slow if spared and i % 5 else ())


@pytest.mark.parametrize("name", sampled(shipped_configs()))
def test_it_is_saved_and_loads_equal(name, tmp_path):
    cfg = load_config(name)
    save_config(cfg, tmp_path / "config.yaml")
    assert plain(load_config(tmp_path / "config.yaml")) == plain(cfg)


def test_it_can_run(shipped):
    name, cfg = shipped
    assert {"data", "model", "dataloader", "optimizer", "lr_multiplier", "train", "remedies"} <= set(cfg), name
    assert {"train", "val"} <= set(cfg.data)
    assert OmegaConf.to_container(cfg.model, resolve=False)["num_classes"], "num_classes must come from the data"
    assert not isinstance(OmegaConf.to_container(cfg.model, resolve=False)["num_classes"], int)


def test_every_target_can_be_imported_and_every_interpolation_resolves(shipped):
    _, cfg = shipped
    for key, value in walk(cfg):
        if key.endswith("_target_"):
            locate(value, key)
    OmegaConf.to_container(cfg, resolve=True)
