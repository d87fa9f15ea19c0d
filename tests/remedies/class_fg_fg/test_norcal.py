"""NorCal: neutral, by hand, a naive loop, both kinds of scores, a class without boxes, a run's weights."""

import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.remedies.class_fg_fg.norcal import NorCal

COUNTS = [400, 25, 1]


def softmax_scores(r=6, k=3):
    p = torch.randn(r, k + 1, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    return p[:, :-1], p[:, -1]


def test_neutral_leaves_the_scores():
    scores, background = softmax_scores()
    assert torch.allclose(NorCal(COUNTS, 0)(scores, background), scores, atol=1e-7)
    assert torch.allclose(NorCal(COUNTS, 0)(scores, None), scores, atol=1e-6)


def test_by_hand():
    """gamma 1/2: 0.4 / 20, 0.2 / 5, 0.1 / 1 beside 0.3: divided by their sum 0.46."""
    found = NorCal(COUNTS, 0.5)(torch.tensor([0.4, 0.2, 0.1]), torch.tensor(0.3))
    assert found.tolist() == pytest.approx([0.02 / 0.46, 0.04 / 0.46, 0.1 / 0.46])


def test_the_logits_of_the_source_in_a_loop():
    """exp(z_c) / m_c^gamma over the sum of all with exp(z_background): background comes from 1 - sum."""
    z = torch.randn(5, 4, dtype=torch.float64)
    p = z.softmax(dim=1)
    found = NorCal(COUNTS, 0.7)(p[:, :-1], 1 - p[:, :-1].sum(dim=1))
    for row, mine in zip(z.exp().tolist(), found.tolist(), strict=True):
        parts = [e / m**0.7 for e, m in zip(row[:-1], COUNTS, strict=True)]
        assert mine == pytest.approx([part / (sum(parts) + row[-1]) for part in parts], rel=1e-5)


def test_sigmoid_scores_move_by_log_odds():
    """gamma 1, 25 images: odds 1 become 1/25, p = 1/26; certain scores stay certain."""
    found = NorCal(COUNTS, 1.0)(torch.tensor([[0.5, 0.5, 0.5], [0.0, 1.0, 1.0]]), None)
    assert found[0].tolist() == pytest.approx([1 / 401, 1 / 26, 1 / 2])
    assert found[1].tolist() == [0, 1, 1]


def test_a_class_without_boxes_is_not_favored_and_one_class_keeps_its_order():
    scores, background = softmax_scores()
    found = NorCal([400, 25, 0], 0.6)(scores, background)
    assert NorCal([400, 25, 0], 0.6).shift[2] == NorCal([400, 25, 0], 0.6).shift[0] and torch.isfinite(found).all()
    assert torch.equal(NorCal([0, 0], 0.6).shift, torch.zeros(2))
    one = NorCal([50], 0.6)(scores[:, :1], 1 - scores[:, 0])
    assert torch.equal(one[:, 0].argsort(), scores[:, 0].argsort())


def test_mechanism_rare_classes_rise_above_frequent_ones_and_all_fall_below_background():
    scores, background = torch.tensor([0.5, 0.05, 0.05]), torch.tensor(0.4)
    found = NorCal(COUNTS, 0.6)(scores, background)
    assert found[2] > found[0] > found[1] and found[2] > scores[2] and found[0] < scores[0]
    assert 1 - found.sum() > background


def test_config_leaves_the_threshold_and_saves_nothing():
    cfg = load_config("baselines/faster_rcnn_shapes", ["norcal"], ["data.train.num_images=40"])
    model = instantiate(cfg.model)
    assert model.score_threshold == 1e-3 and not [name for name in model.state_dict() if "calibration" in name]
    assert model.calibration.shift.argmin() == instantiate(cfg.data.train).image_counts().argmax()


def test_wrong_gamma():
    with pytest.raises(ValueError, match="gamma must not be negative, got -1"):
        NorCal(COUNTS, -1)
