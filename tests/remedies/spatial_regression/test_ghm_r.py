"""GHM-R: a loop over bins, the running counts and when they move, and the flattened density of the gradient."""

import math

import pytest
import torch

from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_regression.ghm_r import GHMR
from tests.helpers import criterion
from tests.remedies.spatial_regression._checks import (
    ROI,
    DeltaChecks,
    config,
    regions,
    scene,
)


class TestGHMR(DeltaChecks):
    """Each is a batch of one box. Nested: errors 0, 0, ln 2, ln 2 fill two bins with two each, so all weigh
    4 / (2 2) = 1: 2 (sqrt(ln(2)^2 + 0.02^2) - 0.02). Touching: the one error weighs 4 / (2 1) = 2: 2 (1.0002 - 0.02).
    Disjoint: dx = 2.
    """

    make, remedy, weights = GHMR, "ghm_r", (1.0, 2.5)
    settings = ({}, {"mu": 0.2, "bins": 4}, {"momentum": 0.0})
    worked = {"identical": 0, "nested": 1.346871, "touching": 1.960400, "disjoint": 3.960200}
    bad = ({"mu": 0}, {"bins": 0}, {"momentum": 1.0})

    def naive_batch(self, errors, mu=0.02, bins=10, momentum=0.7):
        """Rows of four errors, the first batch of a training -> a value each and the counts."""
        of_bin = [[min(bins - 1, int(bins * abs(x) / math.hypot(x, mu))) for x in row] for row in errors]
        counts = [sum(b == bin for row in of_bin for b in row) for bin in range(bins)]
        total, filled = 4 * len(errors), sum(c > 0 for c in counts)
        values = [
            sum(total / (filled * counts[b]) * (math.hypot(x, mu) - mu) for x, b in zip(*pair, strict=True))
            for pair in zip(errors, of_bin, strict=True)
        ]
        return values, counts

    def test_against_a_naive_loop(self):
        for setting in self.settings:
            loss = GHMR(**setting)
            deltas, m = self.inputs(loss)
            errors = (deltas - ROI.encode(m.boxes, m.targets)).tolist()
            values, counts = self.naive_batch(errors, **setting)
            assert loss(deltas, m, ROI)[0].tolist() == pytest.approx(values, rel=1e-5)
            loss.end_step()
            assert loss.counts.tolist() == counts

    def test_gradient_in_float64(self):
        """The weights stand still; counts that move from call to call would spoil the differences, so they are kept."""
        loss = GHMR().eval()
        deltas, m = self.inputs(loss, r=12)
        assert torch.autograd.gradcheck(lambda x: loss(x, m, ROI)[0], deltas.requires_grad_())


def test_neutral_is_l1_to_a_millionth():
    m, deltas = scene(dtype=torch.float32)
    neutral = GHMR(mu=1e-6, bins=1, momentum=0.0)(deltas, m, ROI)[0]
    assert torch.allclose(neutral, SmoothL1(beta=0.0)(deltas, m, ROI)[0], atol=5e-6)


def step(loss, errors, labels=None):
    """A batch whose regions have these errors (R, 4)."""
    box = torch.tensor([[0.0, 0, 10, 10]]).expand(len(errors), 4)
    values = loss(errors, regions(box, box, labels), BoxCoder())[0]
    loss.end_step()
    return values


def test_running_counts_by_hand():
    """bins 2, mu 1: errors 0 and 5 are in bin 0 and 1. First batch 3 and 1 -> whole; second 0 and 4: bin 0 keeps 3,
    bin 1 is 0.7 + 0.3 * 4 = 1.9, and with one filled bin of 4 an error of 5 weighs 4 / 1.9.
    """
    loss = GHMR(mu=1.0, bins=2, momentum=0.7)
    step(loss, torch.tensor([[5.0, 0, 0, 0]]))
    assert loss.counts.tolist() == [3, 1]
    value = step(loss, torch.full((1, 4), 5.0))
    assert loss.counts.tolist() == pytest.approx([3, 1.9])
    assert value.item() == pytest.approx(4 * 4 / 1.9 * (math.sqrt(26) - 1), rel=1e-5)


def test_background_and_ignored_are_not_counted():
    loss = GHMR()
    step(loss, torch.randn(4, 4), labels=[0, 3, -1, 2])
    assert loss.counts.sum() == 8
    empty = GHMR()
    assert torch.isfinite(step(empty, torch.zeros(2, 4), labels=[3, -1])).all() and empty.counts.sum() == 0


def test_the_counts_are_part_of_a_detectors_state():
    assert "regression.counts" in criterion(regression=GHMR()).state_dict()


def test_mechanism_the_density_of_the_gradient_is_flattened():
    """900 small errors, 80 of middling size, 20 large: plain, each group's part of the gradient goes with its number
    and size; with GHM-R each filled bin's summed weight is the same.
    """
    errors = torch.cat((torch.full((900,), 0.002), torch.full((80,), 0.02), torch.full((20,), 1.0))).view(-1, 4)
    part = {}
    for bins in (1, 10):  # 1: plain
        x = errors.clone().requires_grad_()
        step(GHMR(bins=bins, momentum=0.0), x).sum().backward()
        size = errors / torch.hypot(errors, torch.tensor(0.02))
        density = torch.stack([(x.grad / size)[errors == e].sum() for e in (0.002, 0.02, 1.0)])
        part[bins] = density / density.sum()
    assert part[1].tolist() == pytest.approx([0.9, 0.08, 0.02], rel=1e-4)
    assert part[10].tolist() == pytest.approx([1 / 3] * 3, rel=1e-4)


def test_mu_of_each_detector():
    assert config("baselines/faster_rcnn_shapes", "ghm_r").model.roi_heads.criterion.regression.mu == 0.2
    assert config("baselines/retinanet_shapes", "ghm_r").model.criterion.regression.mu == 0.02
