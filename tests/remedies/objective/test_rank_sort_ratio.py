"""The ratio rule: neutral, by hand, stages of a cascade, no objects, and equal losses as its mechanism."""

import pytest
import torch

from imbdet.remedies.objective.rank_sort_ratio import RankSortRatio

from ._cases import gradients, step


def test_neutral_is_the_plain_sum():
    losses = step(0.5, 0.1, 2.0, 0.25)
    weighted, _ = RankSortRatio(strength=0)(losses)
    assert all(torch.equal(weighted[name], losses[name]) for name in losses)


def test_by_hand_and_the_mechanism():
    """0.5 / 0.1 = 5 and 2 / 0.25 = 8: box losses get the value of their partner, and those factors as gradient."""
    losses = step(0.5, 0.1, 2.0, 0.25)
    weighted, stats = RankSortRatio()(losses)
    assert [value.item() for value in weighted.values()] == pytest.approx([0.5, 0.5, 2, 2])
    assert list(gradients(losses, weighted).values()) == pytest.approx([1, 5, 1, 8])
    assert stats["rank_sort_ratio/raw_loss_box_reg"] == 0.25


def test_half_the_strength():
    weighted, _ = RankSortRatio(0.5)(step(1.0, 0.25, names=("loss_cls", "loss_box_reg")))
    assert weighted["loss_box_reg"].item() == pytest.approx(0.25 * 2)


def test_stages_and_losses_without_a_partner():
    losses = step(3, 1, 8, 2, 7, names=("loss_cls_stage0", "loss_box_reg_stage0", "loss_cls", "loss_reg", "dropout"))
    weighted, _ = RankSortRatio()(losses)
    assert [value.item() for value in weighted.values()] == [3, 3, 8, 8, 7]


def test_no_objects():
    weighted, _ = RankSortRatio()(step(0.5, 0, 2, 0))
    assert [value.item() for value in weighted.values()] == [0.5, 0, 2, 0]
    assert sum(weighted.values()).requires_grad


def test_wrong_strength():
    with pytest.raises(ValueError, match="strength"):
        RankSortRatio(2)
