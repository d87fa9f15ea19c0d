"""Distribution focal loss: GIoU of the means, two bins beside the true place, as wide as the noise."""

import math

import pytest
import torch

from imbdet.remedies.spatial_regression.dfl import DFL
from imbdet.remedies.spatial_regression.giou_loss import GIoULoss
from tests.remedies.spatial_regression._checks import ROI, regions
from tests.remedies.spatial_regression._forms import FormChecks
from tests.remedies.spatial_regression._naive import hull_of, iou_of


class TestDFL(FormChecks):
    make, remedy, weights = DFL, "dfl", (5.0, 1.0)
    settings = ({}, {"bins": 4, "per_side": 3.0, "weight": 2.0, "box_weight": 0.5})
    bad = ({"bins": 1}, {"per_side": 0}, {"weight": -1}, {"box_weight": -1})

    def test_values_by_hand(self):
        """Region 80 x 80, a bin is 10 px, every side on bin 4 with e^3 against 1 of the others: S_4 = 0.5566,
        mean 4 S_4 + (1 - S_4) / 16 (136 - 4) = 5.8844. Object 1 bin inside of x1: y = 3 there, 4 elsewhere.
        """
        region = torch.tensor([[0.0, 0, 80, 80]], dtype=torch.float64)
        target = torch.tensor([[10.0, 0, 80, 80]], dtype=torch.float64)
        outputs = torch.zeros(1, 4, 17, dtype=torch.float64)
        outputs[..., 4] = 3.0
        share = math.exp(3) / (math.exp(3) + 16)
        d = 4 * share + (1 - share) / 16 * (136 - 4)
        box = [40 - 10 * d, 40 - 10 * d, 40 + 10 * d, 40 + 10 * d]
        assert self.make().boxes(outputs.flatten(1), region, ROI)[0].tolist() == pytest.approx(box)
        assert share == pytest.approx(0.5566, abs=1e-4) and d == pytest.approx(5.8844, abs=1e-4)
        entropy = (3 * -math.log(share) - math.log((1 - share) / 16)) / 4
        giou = 1 - 70 * 80 / (20 * d) ** 2  # the object lies inside
        value = self.make()(outputs.flatten(1), regions(region, target), ROI)[0].item()
        assert value == pytest.approx(2 * giou + 0.25 * entropy)

    def naive_box(self, outputs, region, bins=16, per_side=8.0, weight=0.25, box_weight=2.0):
        box = []
        for side in range(4):
            z = outputs[side * (bins + 1) : (side + 1) * (bins + 1)]
            total = sum(math.exp(x) for x in z)
            d = sum(i * math.exp(x) / total for i, x in enumerate(z))
            low, high = region[side % 2], region[side % 2 + 2]
            box.append((low + high) / 2 + (-1 if side < 2 else 1) * d * (high - low) / per_side)
        return box

    def naive(self, outputs, region, target, coder, fixed, bins=16, per_side=8.0, weight=0.25, box_weight=2.0):
        p = self.naive_box(outputs, region, bins, per_side)
        iou, union = iou_of(p, target)
        wc, hc = hull_of(p, target)
        value = box_weight * (1 - iou + (wc * hc - union) / (wc * hc))
        for side in range(4):
            low, high = region[side % 2], region[side % 2 + 2]
            y = abs(target[side] - (low + high) / 2) * per_side / (high - low)
            if (target[side] - (low + high) / 2) * (-1 if side < 2 else 1) < 0:
                y = 0.0
            y = min(y, bins - 0.1)
            z = outputs[side * (bins + 1) : (side + 1) * (bins + 1)]
            log_total = math.log(sum(math.exp(x) for x in z))
            i = math.floor(y)
            value -= weight / 4 * ((i + 1 - y) * (z[i] - log_total) + (y - i) * (z[i + 1] - log_total))
        return value


def outputs_at(places, bins=16, sharp=60.0):
    """Logits (R, 4 * 17) of sides that lie between two bins each, as linear interpolation has them."""
    below = places.floor().long().clamp(max=bins - 1)
    part = (places - below).clamp(1e-9, 1 - 1e-9)
    outputs = torch.full((*places.shape, bins + 1), -sharp, dtype=places.dtype)
    outputs.scatter_(-1, below.unsqueeze(-1), (1 - part).log().unsqueeze(-1))
    outputs.scatter_(-1, below.unsqueeze(-1) + 1, part.log().unsqueeze(-1))
    return outputs.flatten(1)


def test_neutral_without_its_part_it_is_giou_of_the_means():
    loss = DFL(weight=0.0, box_weight=1.0)
    outputs, m = TestDFL().inputs(loss)
    want = GIoULoss().between(loss.boxes(outputs, m.boxes, ROI), m.targets)
    assert torch.equal(loss(outputs, m, ROI)[0], want)


def test_the_lowest_cross_entropy_is_that_of_the_two_neighbors():
    """d/dS of -(a log S_i + b log S_(i+1)) with a + b = 1 vanishes at S_i = a, S_(i+1) = b, whose mean is y."""
    region = torch.tensor([[0.0, 0, 80, 80]], dtype=torch.float64)
    target = torch.tensor([[3.0, -2, 77, 81]], dtype=torch.float64)
    loss = DFL(box_weight=0.0, weight=4.0)
    outputs = outputs_at((target - 40).abs() / 10).requires_grad_()
    value = loss(outputs, regions(region, target), ROI)[0]
    value.sum().backward()
    assert outputs.grad.abs().max() < 1e-8
    assert torch.allclose(loss.boxes(outputs, region, ROI), target, atol=1e-6)


def test_what_no_bin_can_say_is_kept_at_the_ends():
    """The object lies off the region's center and beyond 16 bins: places 0 and 15.9, and a finite loss."""
    region, target = torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[6.0, 6, 99, 99]])
    loss = DFL(box_weight=0.0, weight=4.0)
    wanted = outputs_at(torch.tensor([[0.0, 0.0, 15.9, 15.9]]))
    best = -2 * (0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    assert loss(wanted, regions(region, target), ROI)[0].item() == pytest.approx(best, abs=1e-4)


def test_mechanism_a_distribution_becomes_as_wide_as_its_noise():
    """One output for many objects, one side of which is exact and one off by +-2 bins: the first ends in two bins, the
    second in all that the noise reaches.
    """
    g = torch.Generator().manual_seed(0)
    region = torch.tensor([[0.0, 0, 80, 80]]).expand(200, 4)
    target = torch.tensor([[0.0, 0, 80, 80]]).repeat(200, 1)
    target[:, 0] += 40 * torch.rand(200, generator=g) - 20
    outputs = torch.zeros(1, 68, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.2)
    for _ in range(150):
        optimizer.zero_grad()
        DFL()(outputs.expand(200, 68), regions(region, target), ROI)[0].mean().backward()
        optimizer.step()
    share = outputs.detach().view(4, 17).softmax(dim=1)
    bins = torch.arange(17.0)
    deviation = (share @ bins**2 - (share @ bins) ** 2).sqrt()
    assert deviation[0] > 1.0 and (deviation[1:] < 0.5).all(), deviation
    assert torch.allclose(share @ bins, torch.full((4,), 4.0), atol=0.3)
