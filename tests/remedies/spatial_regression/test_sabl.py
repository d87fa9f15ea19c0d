"""Side-aware boundary localization: buckets and offsets by hand and in a loop, what is left out, and far objects."""

import math

import pytest
import torch
from torch.nn import functional as F

from imbdet.remedies.spatial_regression.sabl import SABL
from tests.remedies.spatial_regression._checks import ROI, regions, scene
from tests.remedies.spatial_regression._forms import FormChecks


class TestSABL(FormChecks):
    make, remedy = SABL, "sabl"
    settings = (
        {},
        {"buckets": 5, "scale": 3.0, "beta": 1 / 9, "bucket_weight": 1.5 / 28, "offset_weight": 1.5 / 8},
        {"buckets": 2},
    )
    bad = ({"buckets": 1}, {"scale": 0}, {"beta": 0}, {"bucket_weight": -1}, {"offset_weight": -1})

    def test_values_by_hand(self):
        """Region 0..140, not enlarged: strips of 10 px with middles 5, 15, ... 65 from each side. The object ends 2 px
        inside: the first strip is right (t = 0.3), the second at distance 1.3 is wrong. All outputs 0: seven times log
        2 a side, and smooth L1 of 0.3 at beta 0.1, 0.25.
        """
        region, target = torch.tensor([[0.0, 0, 140, 140]]), torch.tensor([[2.0, 2, 138, 138]])
        value = SABL(scale=1.0)(torch.zeros(1, 56), regions(region, target), ROI)[0].item()
        assert value == pytest.approx(7 * math.log(2) + 4 * 0.25, rel=1e-5)
        # 8 px inside: t_1 = -0.3, t_2 = 0.7, which is a second offset and left out of the buckets
        target = torch.tensor([[8.0, 8, 132, 132]])
        value = SABL(scale=1.0)(torch.zeros(1, 56), regions(region, target), ROI)[0].item()
        assert value == pytest.approx(6 * math.log(2) + 4 * (0.25 + 0.65), rel=1e-5)

    def strips(self, region, side, buckets, scale):
        """Middles from outside, and their width."""
        low, high = region[side % 2], region[side % 2 + 2]
        center, whole = (low + high) / 2, (high - low) * scale
        width = whole / buckets
        count = math.ceil(buckets / 2)
        if side < 2:
            return [center - whole / 2 + (k + 0.5) * width for k in range(count)], width
        return [center + whole / 2 - (k + 0.5) * width for k in range(count)], width

    def naive_box(self, outputs, region, buckets=14, scale=1.7, **_):
        box, count = [], math.ceil(buckets / 2)
        for side in range(4):
            z, o = (outputs[(2 * side + i) * count : (2 * side + i + 1) * count] for i in range(2))
            middles, width = self.strips(region, side, buckets, scale)
            k = z.index(max(z))
            box.append(middles[k] - o[k] * width)
        return box

    def naive(self, outputs, region, target, coder, fixed, buckets=14, scale=1.7, beta=0.1, **weights):
        bucket_weight, offset_weight = weights.get("bucket_weight", 0.25), weights.get("offset_weight", 1.0)
        count, entropy, error = math.ceil(buckets / 2), 0.0, 0.0
        for side in range(4):
            z, o = (outputs[(2 * side + i) * count : (2 * side + i + 1) * count] for i in range(2))
            middles, width = self.strips(region, side, buckets, scale)
            t = [(c - target[side]) / width for c in middles]
            order = sorted(range(count), key=lambda k: abs(t[k]))
            for k in range(count):
                if k != order[0] and abs(t[k]) < 1:
                    continue
                p = 1 / (1 + math.exp(-z[k]))
                entropy -= math.log(p) if k == order[0] else math.log(1 - p)
            for rank, k in enumerate(order[:2]):
                x = abs(o[k] - t[k])
                if rank == 0 or abs(t[k]) < 1:
                    error += x * x / (2 * beta) if x < beta else x - beta / 2
        return bucket_weight * entropy + offset_weight * error


def test_neutral_one_bucket_a_side_is_smooth_l1_of_the_sides():
    """Two strips, each half of the region: distances from their middles in units of that half."""
    loss = SABL(buckets=2, scale=1.0, bucket_weight=0.0)
    m, _ = scene()
    outputs = torch.randn(40, 8, dtype=torch.float64)
    half = (m.boxes[:, 2:] - m.boxes[:, :2]).repeat(1, 2) / 2
    middle = torch.cat((m.boxes[:, :2] + half[:, :2] / 2, m.boxes[:, 2:] - half[:, 2:] / 2), dim=1)
    want = F.smooth_l1_loss(outputs[:, 1::2], (middle - m.targets) / half, reduction="none", beta=0.1).sum(1)
    assert torch.allclose(loss(outputs, m, ROI)[0], want)


def test_the_true_outputs_give_the_object_and_cost_nothing():
    """Any object whose sides lie in the enlarged region; the right bucket alone, its offset exact."""
    loss, (m, _) = SABL(scale=3.0), scene(dtype=torch.float64)
    middles, inward = loss._strips(m.boxes)
    target = (middles - m.targets.unsqueeze(-1)) / inward.abs().unsqueeze(-1)
    logits = torch.where(target.abs() == target.abs().amin(dim=-1, keepdim=True), 50.0, -50.0)
    outputs = torch.stack((logits, target), dim=2).flatten(1)
    assert torch.allclose(loss.boxes(outputs, m.boxes, ROI), m.targets)
    assert loss(outputs, m, ROI)[0].abs().max() < 1e-6


def test_neighbors_of_the_right_bucket_have_no_gradient():
    region, target = torch.tensor([[0.0, 0, 140, 140]]), torch.tensor([[8.0, 8, 132, 132]])
    outputs = torch.zeros(1, 56, requires_grad=True)
    SABL(scale=1.0)(outputs, regions(region, target), ROI)[0].sum().backward()
    logits = outputs.grad.view(4, 2, 7)[:, 0]
    assert (logits[:, 0] < 0).all() and (logits[:, 1] == 0).all() and (logits[:, 2:] > 0).all()


def test_mechanism_an_offset_stays_below_a_bucket_however_far_the_object():
    """The fine target of a side within the enlarged region is at most half a bucket, where a delta grows without
    bound: that is what the first step is for.
    """
    loss = SABL(scale=3.0)
    region = torch.tensor([[0.0, 0, 100, 100]]).expand(50, 4)
    target = torch.tensor([[0.0, 0, 100, 100]]).repeat(50, 1)
    target[:, 0] = torch.linspace(-100, 50, 50)
    middles, inward = loss._strips(region)
    fine = ((middles - target.unsqueeze(-1)) / inward.abs().unsqueeze(-1)).abs().amin(dim=-1)
    assert fine.max() <= 0.5 + 1e-4 and ROI.encode(region, target).abs().max() > 3
    value = loss(torch.zeros(50, 56), regions(region, target), ROI)[1]["sabl/right_bucket"]
    assert 0 <= value < 1
