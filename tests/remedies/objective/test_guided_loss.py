"""Guided loss: neutral, by hand, what a batch without objects does, state, and the mechanism."""

import pytest
import torch

from imbdet.config import load_config
from imbdet.remedies.objective.guided_loss import GuidedLoss

from ._cases import gradients, step


def test_neutral_is_the_plain_sum():
    losses = step(0.5, 0.1, 2.0, 0.25)
    weighted, _ = GuidedLoss(strength=0)(losses)
    assert all(torch.equal(weighted[name], losses[name]) for name in losses)


def test_by_hand_and_the_mechanism():
    """0.1 / 0.5 = 0.2; 2 x 0.25 / 2 = 0.25: each classification loss has w times the value of its box loss."""
    losses = step(0.5, 0.1, 2.0, 0.25)
    weighted, stats = GuidedLoss({"loss_cls": 2.0})(losses)
    assert [value.item() for value in weighted.values()] == pytest.approx([0.1, 0.1, 0.5, 0.25])
    assert list(gradients(losses, weighted).values()) == pytest.approx([0.2, 1, 0.25, 1])
    assert stats["guided_loss/raw_loss_cls"] == 2


def test_without_objects_the_last_ratio_holds():
    """The trap: a ratio of 0 would teach nothing of background in such a batch."""
    loss = GuidedLoss()
    assert loss(step(0.5, 0.0))[0]["loss_rpn_cls"] == 0.5, "before any object the loss is as it is"
    loss(step(0.5, 0.1))
    loss.end_step()
    found = loss(step(0.4, 0.0, 3.0, 0.0))[0]
    assert found["loss_rpn_cls"].item() == pytest.approx(0.2 * 0.4) and found["loss_cls"] == 3
    loss.end_step()
    assert loss.ratios[0].item() == pytest.approx(0.2)


def test_the_ratio_that_is_kept_is_the_mean_of_the_steps_batches():
    loss = GuidedLoss()
    for box in (0.2, 0.6, 0.0):
        loss(step(1.0, box))
    loss.end_step()
    assert loss.ratios[0].item() == pytest.approx(0.4)


def test_weights_of_each_detector_and_wrong_settings():
    assert load_config("baselines/faster_rcnn_shapes", ["guided_loss"]).model.objective.weights == {"loss_cls": 2.0}
    assert load_config("baselines/retinanet_shapes", ["guided_loss"]).model.objective.weights == {}
    for settings in ({"strength": -1}, {"weights": {"loss_cls": 0}}):
        with pytest.raises(ValueError, match="strength|positive"):
            GuidedLoss(**settings)
