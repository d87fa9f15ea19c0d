"""Post-hoc logit adjustment: neutral, by hand, the logits in a loop, a class without boxes, the mechanism."""

import math

import pytest
import torch

from imbdet.remedies.class_fg_fg.logit_adjustment_post_hoc import LogitAdjustmentPostHoc

COUNTS = [60, 30, 10]


def test_neutral_leaves_the_scores():
    p = torch.randn(6, 4).softmax(dim=1)
    assert torch.allclose(LogitAdjustmentPostHoc(COUNTS, 0)(p[:, :3], p[:, 3]), p[:, :3], atol=1e-7)


def test_by_hand():
    """Shares 0.6, 0.3, 0.1 of 3 classes: odds are divided by 1.8, 0.9 and 0.3."""
    found = LogitAdjustmentPostHoc(COUNTS)(torch.tensor([0.18, 0.18, 0.18]), torch.tensor(0.46))
    parts = [0.1, 0.2, 0.6]
    assert found.tolist() == pytest.approx([part / (0.9 + 0.46) for part in parts], rel=1e-5)
    alone = LogitAdjustmentPostHoc(COUNTS)(torch.full((3,), 0.5), None)
    assert alone.tolist() == pytest.approx([1 / 2.8, 1 / 1.9, 1 / 1.3], rel=1e-5)


def test_softmax_of_shifted_logits_in_a_loop():
    z = torch.randn(5, 4, dtype=torch.float64)
    p = z.softmax(dim=1)
    found = LogitAdjustmentPostHoc(COUNTS, 0.5)(p[:, :3], p[:, 3])
    for row, mine in zip(z.tolist(), found.tolist(), strict=True):
        moved = [v - 0.5 * math.log(3 * n / 100) for v, n in zip(row[:3], COUNTS, strict=True)]
        total = sum(math.exp(v) for v in [*moved, row[3]])
        assert mine == pytest.approx([math.exp(v) / total for v in moved], rel=1e-5)


def test_equal_classes_one_class_and_one_without_boxes_keep_their_logits():
    for counts in ([7, 7, 7], [9], [0, 0]):
        assert LogitAdjustmentPostHoc(counts).shift.abs().max() < 1e-6
    shift = LogitAdjustmentPostHoc([60, 0, 40]).shift
    assert shift[1] == 0 and torch.equal(shift[[0, 2]], LogitAdjustmentPostHoc([60, 40]).shift)


def test_mechanism_a_classifier_that_knows_only_the_shares_becomes_fair():
    """Regions that say nothing get the shares as scores; adjusted, all classes are as likely, background as ever."""
    scores = 0.5 * torch.tensor(COUNTS) / 100
    found = LogitAdjustmentPostHoc(COUNTS)(scores, torch.tensor(0.5))
    assert torch.allclose(found, torch.full((3,), 1 / 6))


def test_wrong_tau():
    with pytest.raises(ValueError, match="tau must not be negative"):
        LogitAdjustmentPostHoc(COUNTS, -0.5)
