"""NWD loss: numbers by hand, a naive loop, sizes of the data, and what small and large objects get."""

import math

import numpy as np
import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.data.augment import ResizeShortestEdge
from imbdet.data.datasets.shapes import shapes
from imbdet.data.statistics import input_size_range, input_sizes, mean_input_size
from imbdet.remedies.scale.nwd_loss import NWDLoss
from tests.remedies.spatial_regression._checks import PAIRS, TARGET, BoxChecks


class TestNWDLoss(BoxChecks):
    """Size 12.8. Nested: W = sqrt((25 + 25) / 4) = 3.5355. Touching: W = 10. Disjoint: W = 20."""

    make, remedy = NWDLoss, "nwd_loss"
    settings = ({}, {"size": 40.0})
    bad = ({"size": 0},)
    most, zero = 1.0, 1e-4
    worked = {
        "identical": 0,
        "nested": 1 - math.exp(-3.5355 / 12.8),
        "touching": 1 - math.exp(-10 / 12.8),
        "disjoint": 1 - math.exp(-20 / 12.8),
    }

    def test_values_by_hand(self):
        """The parabola near 0 takes a thousandth of a pixel."""
        for kind, box in PAIRS.items():
            value = NWDLoss().between(torch.tensor([box]), torch.tensor([TARGET])).item()
            assert value == pytest.approx(self.worked[kind], abs=1e-4), kind

    def naive_boxes(self, p, t, fixed, size=12.8):
        d = [(p[0] + p[2] - t[0] - t[2]) / 2, (p[1] + p[3] - t[1] - t[3]) / 2]
        d += [(p[2] - p[0] - t[2] + t[0]) / 2, (p[3] - p[1] - t[3] + t[1]) / 2]
        return 1 - math.exp(-(math.sqrt(sum(x * x for x in d) + 1e-6) - 1e-3) / size)

    def test_scale_invariance(self):
        """There is none: the same offset in pixels costs the same at any size."""
        small, large = torch.tensor([[0.0, 0, 6, 6]]), torch.tensor([[0.0, 0, 200, 200]])
        for box in (small, large):
            assert NWDLoss().between(box + 6, box).item() == pytest.approx(
                1 - math.exp(-math.sqrt(72) / 12.8), abs=1e-4
            )


def test_mechanism_a_tiny_box_that_misses_has_a_gradient_and_a_large_one_loses_its():
    """6 px apart at 6 px, IoU has none. Half its size off at 200 px, NWD's gradient is below a hundredth of that."""

    def gradient(side, shift):
        box = torch.tensor([[shift, 0.0, shift + side, side]], requires_grad=True)
        NWDLoss().between(box, torch.tensor([[0.0, 0, side, side]])).sum().backward()
        return box.grad.abs().sum().item()

    assert gradient(6.0, 6.0) > 0.04 and gradient(200.0, 100.0) < 0.01 * gradient(6.0, 6.0)


def test_the_size_is_that_of_the_data_at_the_input():
    records = shapes(num_images=20)
    sizes = np.sqrt(records.xywh[~records.crowd, 2:].prod(axis=1))
    assert mean_input_size(records) == pytest.approx(sizes.mean())
    assert mean_input_size(records, ResizeShortestEdge(256)) == pytest.approx(2 * sizes.mean())
    assert mean_input_size(records, ResizeShortestEdge(256, max_size=64)) == pytest.approx(sizes.mean() / 2)
    low, high = input_size_range(records, share=0.5)
    assert ((input_sizes(records) >= low) & (input_sizes(records) <= high)).mean() == pytest.approx(0.5, abs=0.05)
    cfg = load_config("baselines/retinanet_shapes", ["nwd_loss"], ["data.train.num_images=20"])
    assert instantiate(cfg.model.criterion.regression).size == pytest.approx(sizes.mean())
    with pytest.raises(ValueError, match="no box has an area"):
        mean_input_size(records.subset(np.flatnonzero(np.bincount(records.object_image, minlength=20) == 0)[:0]))
