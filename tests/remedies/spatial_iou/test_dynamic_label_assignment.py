"""Dynamic label assignment: neutral, by hand, a naive loop over steps, no objects, and a threshold that follows."""

import pytest
import torch

from imbdet.config import load_config
from imbdet.modeling.defaults import ThresholdMatcher
from imbdet.remedies.spatial_iou.dynamic_label_assignment import DynamicLabelAssignment

VALID = torch.ones(2, 3, dtype=torch.bool)


def ious(seed, n=2):
    return torch.rand(n, 3, 20, generator=torch.Generator().manual_seed(seed))


def test_neutral_is_the_threshold_matcher():
    matcher = DynamicLabelAssignment(initial=0.5, topk=20, interval=1)
    for seed in range(3):
        iou = ious(seed) * 0.6  # the worst of 20 proposals is far below 0.5
        found, want = matcher(iou, VALID), ThresholdMatcher(0.5, 0.5)(iou, VALID)
        assert all(torch.equal(a, b) for a, b in zip(found, want, strict=True))
        matcher.end_step()
    assert matcher.threshold == 0.5


def test_by_hand():
    """The second largest IoU of two images is 0.8 and 0.6: after one step the threshold is 0.7."""
    matcher = DynamicLabelAssignment(topk=2, interval=1)
    iou = torch.tensor([[[0.9, 0.8, 0.5]], [[0.75, 0.6, 0.1]]])
    kind = matcher(iou, VALID[:, :1])[2]
    assert kind.tolist() == [[1, 1, 1], [1, 1, 0]], "0.4 until the step is over"
    matcher.end_step()
    assert matcher.threshold.item() == pytest.approx(0.7)
    assert matcher(iou, VALID[:, :1])[2].tolist() == [[1, 1, 0], [1, 0, 0]]


def test_a_naive_loop():
    matcher, held, threshold = DynamicLabelAssignment(topk=5, interval=3), [], 0.4
    for step in range(10):
        iou = ious(step)
        _, best, kind = matcher(iou, VALID)
        assert torch.equal(kind, (best >= threshold).to(torch.int8))
        held += [sorted(row, reverse=True)[4] for row in best.tolist()]
        matcher.end_step()
        if step % 3 == 2:
            threshold, held = max(0.4, sum(held) / len(held)), []
        assert matcher.threshold.item() == pytest.approx(threshold)


def test_no_objects_leave_it_alone():
    matcher = DynamicLabelAssignment(topk=2, interval=1)
    iou = ious(0) * torch.tensor([1.0, 0.0]).view(2, 1, 1)
    kind = matcher(iou, torch.tensor([[True] * 3, [False] * 3]))[2]
    assert not kind[1].any() and matcher._collected["images"] == 1
    for _ in range(2):
        matcher(iou[1:], torch.zeros(1, 3, dtype=torch.bool))
        matcher.end_step()
    assert torch.isfinite(matcher.threshold)
    for bad in ({"initial": 2}, {"topk": 0}, {"interval": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            DynamicLabelAssignment(**bad)


def test_mechanism_better_proposals_raise_the_threshold_and_worse_ones_lower_it_to_the_start():
    matcher, found = DynamicLabelAssignment(topk=5, interval=2), []
    for quality in (0.3, 0.6, 0.9, 0.2):
        for _ in range(2):
            matcher(torch.full((2, 3, 20), quality), VALID)
            matcher.end_step()
        found.append(round(matcher.threshold.item(), 2))
    assert found == [0.4, 0.6, 0.9, 0.4]


def test_the_config_takes_its_share_of_the_proposals():
    cfg = load_config("baselines/faster_rcnn_shapes", ["dynamic_label_assignment"])
    assert cfg.model.roi_heads.criterion.matcher.topk == 10  # 75 of 1000, of 128
