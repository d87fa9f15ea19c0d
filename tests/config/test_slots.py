"""The slots of a config."""

from imbdet.config import load_config, slots_of
from imbdet.slots import slot_at


def test_slots_and_what_fills_them(toy_configs):
    found = slots_of(load_config("baselines/one_stage"))
    assert list(found) == ["neck", "region_sampler", "classification", "weighting", "dense_heads"]
    assert found["weighting"] == ("model.criterion.weighting", "(default)")
    assert found["classification"][1].endswith("toys.CrossEntropy")
    two = slots_of(load_config("baselines/two_stage"))
    assert two["classification"][0] == "model.roi_heads.criterion.classification" and "region_features" in two


def test_the_slot_of_a_key():
    assert slot_at("model.criterion.classification.gamma") == "classification"
    assert slot_at("model.roi_heads.criterion.weighting") == "weighting"
    assert slot_at("model.roi_heads.class_agnostic") == "roi_heads"  # the part, where the key is in no slot of it
    assert slot_at("model.neckline") == "" and slot_at("train.max_iter") == ""
