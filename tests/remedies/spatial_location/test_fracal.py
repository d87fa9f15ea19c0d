"""FRACAL: neutral, by hand, a loop over the authors' form, sigmoids, a class without boxes, the mechanism, a run."""

import math

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.data.class_names import TrainedOn
from imbdet.data.places import class_dimensions
from imbdet.engine.origin import without_data
from imbdet.remedies.spatial_location.fracal import FRACAL

SHARES, DIMENSIONS = [0.5, 0.1, 0.01], [1.9, 1.2, 1.0]


def test_neutral_leaves_softmax_scores_and_the_order_of_sigmoids():
    p = torch.randn(6, 4).softmax(dim=1)
    neutral = FRACAL(SHARES, DIMENSIONS, tau=0, power=0)
    assert torch.allclose(neutral(p[:, :3], p[:, 3]), p[:, :3], atol=1e-7)
    assert torch.allclose(neutral(p[:, :3], None), p[:, :3] ** 2, atol=1e-6)


def test_by_hand():
    """Two classes, shares 1/2: w = 0. D 2 and 1, power 1: 0.4 / 2 and 0.2 beside 0.4, divided by 0.8."""
    found = FRACAL([0.5, 0.5], [2, 1], power=1)(torch.tensor([0.4, 0.2]), torch.tensor(0.4))
    assert found.tolist() == pytest.approx([0.25, 0.25])


def test_the_authors_form_in_a_loop():
    """z + w through softmax, then p / D^2 normalized with background; and sigma(z) sigma(z + w + f)."""
    z = torch.randn(4, 4, dtype=torch.float64)
    p = z.softmax(dim=1)
    made = FRACAL(SHARES, DIMENSIONS)
    soft, single = made(p[:, :3], p[:, 3]), made(z[:, :3].sigmoid(), None)
    w = [-math.log10(share) + math.log10(1 / 3) for share in SHARES]
    total = sum(d**2 for d in DIMENSIONS)
    f = [-math.log10(d**2 / total) + math.log10(1 / 3) for d in DIMENSIONS]
    for i, row in enumerate(z.tolist()):
        e = [math.exp(v + shift) for v, shift in zip(row, [*w, 0], strict=True)]
        q = [v / sum(e) / d**2 for v, d in zip(e, [*DIMENSIONS, 1], strict=True)]
        assert soft[i].tolist() == pytest.approx([v / sum(q) for v in q[:3]], rel=1e-5)
        for c in range(3):
            want = 1 / (1 + math.exp(-row[c])) / (1 + math.exp(-row[c] - w[c] - f[c]))
            assert single[i, c].item() == pytest.approx(want, rel=1e-5)


def test_a_class_without_boxes_loses_as_much_as_any_and_changes_no_other():
    made, without = FRACAL([0.5, 0, 0.01], [1.9, 1, 1.0]), FRACAL([0.5, 0.01], [1.9, 1.0])
    for name in ("shift", "alone"):
        found = getattr(made, name)
        assert torch.equal(found[[0, 2]], getattr(without, name)) and found[1] == found.min()


def test_mechanism_even_spread_is_damped_local_classes_are_not():
    p = torch.tensor([0.3, 0.3, 0.3])
    found = FRACAL([0.1] * 3, [2.0, 1.5, 1.0])(p, torch.tensor(0.1))
    assert found[0] < found[1] < found[2] and found[2] > 0.3 > found[0]


def test_one_class():
    found = FRACAL([0.4], [1.5])(torch.tensor([0.3]), torch.tensor(0.7))
    assert 0 < found.item() < 1


def test_of_a_run_the_places_come_from_the_data_that_its_config_names():
    cfg = load_config("baselines/faster_rcnn_shapes", ["fracal"], ["data.train.num_images=40"])
    records = instantiate(cfg.data.train)
    run = without_data(cfg, TrainedOn.of(records))
    found, want = instantiate(run.model.calibration), instantiate(cfg.model.calibration)
    assert torch.equal(found.shift, want.shift)
    changed = without_data(load_config("baselines/faster_rcnn_shapes", ["fracal"]), TrainedOn.of(records))
    with pytest.raises(ValueError, match="has changed since the training"):
        instantiate(changed.model.calibration)
    with pytest.raises(ValueError, match="is not known"):
        class_dimensions(TrainedOn.of(records))


def test_wrong_settings():
    for settings in ({"tau": -1}, {"power": -1}):
        with pytest.raises(ValueError, match="must not be negative"):
            FRACAL(SHARES, DIMENSIONS, **settings)
