"""What every regression loss must keep. A test file subclasses `DeltaChecks` or `BoxChecks`, says what its loss is in
plain Python (`naive`) and by hand (`worked`), and adds its mechanism.

Letters: R regions; every region is foreground unless a test says otherwise.
"""

import itertools
import math
from functools import cache

import pytest
import torch

from imbdet import testing
from imbdet.config import criterion_of, instantiate, load_config
from imbdet.modeling.boxes import BoxCoder
from imbdet.modeling.count import OperatorCount
from imbdet.modeling.criterion import Criterion
from imbdet.testing import random_boxes
from tests.helpers import K, criterion

TARGET = (0.0, 0.0, 10.0, 10.0)
#: a box that is TARGET, one inside of it at its center, one that touches it, one far off
PAIRS = {
    "identical": TARGET,
    "nested": (2.5, 2.5, 7.5, 7.5),
    "touching": (10.0, 0.0, 20.0, 10.0),
    "disjoint": (20.0, 0.0, 30.0, 10.0),
}
ROI = BoxCoder((10, 10, 5, 5))
VIEWS = ("slice", "select", "unbind", "unsqueeze", "detach", "expand", "view", "alias")
DETECTORS = ("baselines/faster_rcnn_shapes", "baselines/retinanet_shapes")


def regions(boxes, targets, labels=None):
    """(R, 4), (R, 4) -> matched regions of one image, of class 0 of 3 unless labels are given, with IoU 1."""
    labels = [0] * len(boxes) if labels is None else labels
    return testing.regions(labels, K, boxes=boxes, targets=targets, iou=torch.ones(len(boxes)))


def scene(r=40, seed=0, dtype=torch.float64, coder=ROI):
    """Regions, targets that overlap them more or less, and predictions somewhere between: matched, deltas (R, 4)."""
    g = torch.Generator().manual_seed(seed)
    boxes = random_boxes(r, seed).to(dtype)
    size = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    jitter = [torch.randn(r, 4, generator=g, dtype=dtype) * 0.15 * size for _ in range(2)]
    targets, predicted = boxes + jitter[0], boxes + jitter[1]
    for each in (targets, predicted):
        each[:, 2:] = torch.maximum(each[:, 2:], each[:, :2] + 1)
    return regions(boxes, targets), coder.encode(boxes, predicted)


@cache
def config(baseline, remedy, *overrides):
    """With 3 classes; shared, so only to be read."""
    cfg = load_config(baseline, [remedy] if remedy else [], overrides)
    cfg.model.num_classes = 3
    return cfg


def numeric_gradient(function, x, step=1e-6):
    """Central differences of a function of a list of numbers."""
    found = []
    for i in range(len(x)):
        up, down = list(x), list(x)
        up[i], down[i] = x[i] + step, x[i] - step
        found.append((function(up) - function(down)) / (2 * step))
    return found


def gradient_share(loss_of_error, errors, chosen):
    """The part of the summed |gradient| that the chosen errors have. errors (E,), chosen (E,) bool."""
    errors = errors.clone().requires_grad_()
    loss_of_error(errors).sum().backward()
    return (errors.grad.abs()[chosen].sum() / errors.grad.abs().sum()).item()


def of_first_delta(loss):
    """The loss as a function of the error of one delta, the others right: (E,) -> (E,)."""

    def value(errors):
        box = torch.tensor(TARGET, dtype=errors.dtype).expand(len(errors), 4)
        rest = torch.zeros(len(errors), 3 + loss.extra_values, dtype=errors.dtype)
        return loss(torch.cat((errors.unsqueeze(1), rest), dim=1), regions(box, box), BoxCoder())[0]

    return value


class RegressionChecks:
    """The checks. `make` is the loss class, `settings` the keyword arguments that are checked, the default first.

    worked: kind of PAIRS -> value of the default setting, by hand. weights: the published ones of RoI heads and of
    RetinaNet. remedy: its name.
    """

    make: type
    remedy: str
    settings: tuple[dict, ...] = ({},)
    worked: dict[str, float]
    weights: tuple[float, float] = (1.0, 1.0)
    bad: tuple[dict, ...] = ()
    #: most operators of a forward pass, the coder's two dozen included, but not those that only view
    operators = 85
    #: the true gradient is what autograd gives: no part of the loss is kept out of it
    exact = True

    def naive(self, deltas, region, target, coder, fixed, **setting):
        """The loss of one region as numbers, in plain Python. fixed: deltas at which parts without gradient are
        taken.
        """
        raise NotImplementedError

    def extra(self, loss, r, dtype, seed=3):
        """What the head predicts beside the deltas (R, V)."""
        return 0.3 * torch.randn(r, loss.extra_values, generator=torch.Generator().manual_seed(seed), dtype=dtype)

    def inputs(self, loss, r=40, dtype=torch.float64, seed=0):
        matched, deltas = scene(r, seed, dtype)
        return torch.cat((deltas, self.extra(loss, r, dtype)), dim=1), matched

    def test_values_by_hand(self):
        """Identical, nested (IoU 1/4), touching and disjoint boxes; `worked` is the formula with these numbers."""
        target = torch.tensor([TARGET], dtype=torch.float64)
        for kind, box in PAIRS.items():
            loss = self.make()
            deltas = BoxCoder().encode(target, torch.tensor([box], dtype=torch.float64))
            deltas = torch.cat((deltas, deltas.new_zeros(1, loss.extra_values)), dim=1)
            value = loss(deltas, regions(target, target), BoxCoder())[0]
            assert value.item() == pytest.approx(self.worked[kind], rel=1e-4, abs=1e-5), kind

    def test_against_a_naive_loop(self):
        for setting in self.settings:
            loss = self.make(**setting)
            deltas, m = self.inputs(loss)
            found = loss(deltas, m, ROI)[0].tolist()
            rows = zip(deltas.tolist(), m.boxes.tolist(), m.targets.tolist(), strict=True)
            want = [self.naive(d, b, t, ROI, d, **setting) for d, b, t in rows]
            assert found == pytest.approx(want, rel=1e-6, abs=1e-9), setting

    def test_gradient_in_float64(self):
        """Against central differences of the naive loop, in which parts without gradient stay fixed."""
        for setting in self.settings:
            loss = self.make(**setting)
            deltas, m = self.inputs(loss, r=6)
            deltas.requires_grad_()
            loss(deltas, m, ROI)[0].sum().backward()
            for d, b, t, g in zip(*(x.tolist() for x in (deltas, m.boxes, m.targets, deltas.grad)), strict=True):
                want = numeric_gradient(lambda x: self.naive(x, b, t, ROI, d, **setting), d)  # noqa: B023
                assert g == pytest.approx(want, rel=1e-4, abs=1e-6), setting
            if self.exact:
                assert torch.autograd.gradcheck(lambda x: loss(x, m, ROI)[0], deltas)  # noqa: B023

    def test_sizes_from_nothing_to_ten_thousand_pixels(self):
        """Regions of 0.001 to 10^4 px, predictions and targets of 0 to 10^4: values and gradients are finite."""
        region, w, h, dx, tw, th = zip(
            *itertools.product((1e-3, 10.0, 1e4), (-200.0, -1.0, 0.0, 90.0), (-200.0, 0.5), (0.0, 0.3, -50.0),
                               (0.0, 1.0, 1e4), (0.0, 50.0)),
            strict=True,
        )  # fmt: skip
        region, w, h, dx, tw, th = (torch.tensor(x) for x in (region, w, h, dx, tw, th))
        boxes = torch.stack((region, region, 2 * region, 2 * region), dim=1)
        targets = torch.stack((region, region, region + tw, region + th), dim=1)
        for setting in self.settings:
            loss = self.make(**setting)
            deltas = torch.stack((dx, -dx, w, h), dim=1)
            deltas = torch.cat((deltas, 50 * self.extra(loss, len(dx), torch.float32)), dim=1).requires_grad_()
            values = loss(deltas, regions(boxes, targets), BoxCoder())[0]
            values.sum().backward()
            assert torch.isfinite(values).all() and torch.isfinite(deltas.grad).all(), setting

    def test_no_foreground_at_all(self):
        deltas, m = self.inputs(self.make(), r=6, dtype=torch.float32)
        m = regions(m.boxes, m.boxes, labels=[3, 3, -1, 3, -1, 3])
        deltas.requires_grad_()
        losses, stats = criterion(regression=self.make())(torch.zeros(6, 4), deltas, m)
        losses["loss_box_reg"].backward()
        assert losses["loss_box_reg"] == 0 and (deltas.grad == 0).all()
        assert all(torch.isfinite(v) for v in stats.values() if torch.is_tensor(v))

    def test_mixed_precision(self):
        """The criterion computes in float32 whatever the head's outputs are, and rounds nothing besides."""
        deltas, m = self.inputs(self.make(), dtype=torch.float32)
        low, logits = deltas.bfloat16(), torch.zeros(len(m), 4)
        found = criterion(regression=self.make())(logits.bfloat16(), low, m)[0]["loss_box_reg"]
        assert found.dtype == torch.float32
        assert torch.equal(found, criterion(regression=self.make())(logits, low.float(), m)[0]["loss_box_reg"])

    def test_moved_boxes_and_swapped_axes_cost_the_same(self):
        shift, swap = torch.tensor([100.0, -50, 100, -50], dtype=torch.float64), [1, 0, 3, 2]
        for setting in self.settings:
            deltas, m = self.inputs(self.make(**setting))
            want = self.make(**setting)(deltas, m, ROI)[0]
            moved = regions(m.boxes + shift, m.targets + shift)
            assert torch.allclose(self.make(**setting)(deltas, moved, ROI)[0], want), setting
            columns = swap + [4 + i for i in swap][: deltas.shape[1] - 4]
            turned = regions(m.boxes[:, swap], m.targets[:, swap])
            assert torch.allclose(self.make(**setting)(deltas[:, columns], turned, ROI)[0], want), setting

    def test_a_step_against_the_gradient_lowers_it(self):
        for setting in self.settings:
            loss = self.make(**setting)
            deltas, m = self.inputs(loss)
            deltas.requires_grad_()
            before = loss(deltas, m, ROI)[0].sum()
            before.backward()
            with torch.no_grad():
                after = loss(deltas - 1e-4 * deltas.grad, m, ROI)[0].sum()
            assert after < before, setting

    def test_a_diverged_head_gives_a_loss_that_is_not_finite(self):
        """So that the run's check of the loss finds it; nothing may index outside of a table on the way."""
        loss = self.make()
        deltas, m = self.inputs(loss, r=3)
        assert not torch.isfinite(loss(deltas * math.nan, m, ROI)[0]).any()

    def test_few_operators_and_no_waiting(self):
        for setting in self.settings:
            loss = self.make(**setting)
            deltas, m = self.inputs(loss)
            with OperatorCount() as count:
                loss(deltas, m, ROI)
            launched = count.operators - sum(count.by_name[name] for name in VIEWS)
            assert launched <= self.operators and count.synchronizations == 0, count.by_name

    def test_configs(self):
        """Either detector has the loss, its published weight, and the values that it asks of the head."""
        for baseline, weight in zip(DETECTORS, self.weights, strict=True):
            cfg = config(baseline, self.remedy)
            made = instantiate(criterion_of(cfg))
            assert type(made.regression) is self.make and made.regression_weight == weight, baseline
            assert made.classification_weight == 1.0 and type(made) is Criterion

    def test_bad_settings(self):
        for setting in self.bad:
            with pytest.raises(ValueError, match=next(iter(setting))):
                self.make(**setting)


class DeltaChecks(RegressionChecks):
    """For losses of the deltas' errors: `naive_error(x, **setting)` is the loss of one."""

    def naive_error(self, x, **setting):
        raise NotImplementedError

    def naive(self, deltas, region, target, coder, fixed, **setting):
        wanted = coder.encode(*(torch.tensor(x, dtype=torch.float64) for x in (region, target))).tolist()
        return sum(self.naive_error(a - b, **setting) for a, b in zip(deltas, wanted, strict=True))


class BoxChecks(RegressionChecks):
    """For losses of decoded boxes: `naive_boxes(p, t, fixed, **setting)` is the loss of one pair; parts without
    gradient are taken at the predicted box `fixed`.
    """

    weights = (10.0, 2.0)
    #: the loss does not change when x and y are stretched differently
    stretches = False
    #: the range of values, and what may be left of 0 in float32
    most, zero = 2.0, 1e-5

    def naive_boxes(self, p, t, fixed, **setting):
        raise NotImplementedError

    def naive(self, deltas, region, target, coder, fixed, **setting):
        region = torch.tensor(region, dtype=torch.float64)
        boxes = [coder.decode(torch.tensor(d[:4], dtype=torch.float64), region).tolist() for d in (deltas, fixed)]
        return self.naive_boxes(boxes[0], target, boxes[1], **setting)

    def test_identical_boxes_cost_nothing_and_have_a_gradient(self):
        for setting in self.settings:
            for size in (1.0, 100.0, 1e4):
                box = torch.tensor([[3.0, 5.0, 3.0 + size, 5.0 + size / 2]])
                predicted = box.clone().requires_grad_()
                value = self.make(**setting).between(predicted, box)
                value.sum().backward()
                assert value.item() == pytest.approx(0, abs=self.zero) and torch.isfinite(predicted.grad).all(), setting

    def test_range(self):
        for setting in self.settings:
            values = self.make(**setting).between(random_boxes(500).double(), random_boxes(500, seed=1).double())
            assert values.min() >= -1e-9 and values.max() <= self.most + 1e-9, setting

    def test_scale_invariance(self):
        """Larger boxes cost the same; stretched along one axis, only what knows nothing but areas does."""
        a, b = random_boxes(200).double(), random_boxes(200, seed=1).double() * 0.5 + 25
        stretch = torch.tensor([3.0, 1, 3, 1], dtype=torch.float64)
        for setting in self.settings:
            between = self.make(**setting).between
            assert torch.allclose(between(7 * a, 7 * b), between(a, b), atol=1e-3), setting
            stretched = torch.allclose(between(stretch * a, stretch * b), between(a, b), atol=1e-3)
            assert stretched == self.stretches, setting
