"""What every box form must keep besides: the checks of `_checks.py` on outputs that are no deltas."""

import itertools

import pytest
import torch

from imbdet import testing
from imbdet.config import instantiate
from imbdet.slots import BoxForm
from tests.helpers import K
from tests.remedies.spatial_regression._checks import DETECTORS, ROI, RegressionChecks, config, regions, scene


class FormChecks(RegressionChecks):
    """`worked` is checked by the subclass; outputs are (R, 4, values of a side), in the order x1, y1, x2, y2."""

    def inputs(self, loss, r=40, dtype=torch.float64, seed=0):
        matched, _ = scene(r, seed, dtype)
        outputs = torch.randn(r, loss.num_values, generator=torch.Generator().manual_seed(seed + 7), dtype=dtype)
        return outputs, matched

    def test_values_by_hand(self):
        raise NotImplementedError

    def naive_box(self, outputs, region, **setting):
        """The box of one region as a list."""
        raise NotImplementedError

    def test_boxes_against_a_naive_loop(self):
        for setting in self.settings:
            loss = self.make(**setting)
            outputs, m = self.inputs(loss)
            found = loss.boxes(outputs.view(4, 10, -1), m.boxes.view(4, 10, 4), ROI)
            rows = zip(outputs.tolist(), m.boxes.tolist(), strict=True)
            want = torch.tensor([self.naive_box(o, b, **setting) for o, b in rows], dtype=torch.float64)
            assert torch.allclose(found.view(-1, 4), want, rtol=1e-9), setting
            proper = (want[:, 2:] > want[:, :2]).all(dim=1)  # a box with a side of 0 or less has no deltas
            again = ROI.decode(loss.deltas(outputs, m.boxes, ROI), m.boxes)
            assert proper.any() and torch.allclose(again[proper], want[proper], atol=1e-5), setting

    def test_sizes_from_nothing_to_ten_thousand_pixels(self):
        sizes = itertools.product((0.0, 1e-3, 10.0, 1e4), (0.0, 1.0, 1e4), (0.0, 50.0), (0.5, 50.0))
        region, tw, th, scale = (torch.tensor(x) for x in zip(*sizes, strict=True))
        boxes = torch.stack((region, region, 2 * region, 2 * region), dim=1)
        targets = torch.stack((region, region, region + tw, region + th), dim=1)
        for setting in self.settings:
            loss = self.make(**setting)
            outputs = (torch.randn(len(region), loss.num_values) * scale.unsqueeze(1)).requires_grad_()
            values = loss(outputs, regions(boxes, targets), ROI)[0]
            values.sum().backward()
            assert torch.isfinite(values).all() and torch.isfinite(outputs.grad).all(), setting

    def test_moved_boxes_and_swapped_axes_cost_the_same(self):
        shift, swap = torch.tensor([100.0, -50, 100, -50], dtype=torch.float64), [1, 0, 3, 2]
        for setting in self.settings:
            loss = self.make(**setting)
            outputs, m = self.inputs(loss)
            want = loss(outputs, m, ROI)[0]
            assert torch.allclose(loss(outputs, regions(m.boxes + shift, m.targets + shift), ROI)[0], want), setting
            turned = regions(m.boxes[:, swap], m.targets[:, swap])
            swapped = outputs.view(len(m), 4, -1)[:, swap].flatten(1)
            assert torch.allclose(loss(swapped, turned, ROI)[0], want), setting

    def test_values_beside_it_are_no_part_of_it(self):
        loss = self.make()
        outputs, m = self.inputs(loss)
        more = torch.cat((outputs, torch.full((len(m), 3), 9.0, dtype=outputs.dtype)), dim=1)
        assert torch.equal(loss.boxes(more, m.boxes, ROI), loss.boxes(outputs, m.boxes, ROI))
        assert torch.equal(loss(more, m, ROI)[0], loss(outputs, m, ROI)[0])

    @pytest.mark.parametrize("baseline", DETECTORS)
    def test_it_learns_and_detects_in_a_detector_of_one_class_or_of_many(self, baseline):
        """The regressed boxes of the stats are its boxes, and detection decodes with it."""
        torch.manual_seed(0)
        cfg = config(baseline, self.remedy)
        model = instantiate(cfg.model).train()
        losses, stats = model(*testing.batch(2, 1, size=64, num_classes=K))
        sum(losses.values()).backward()
        seen = stats["regions"] if hasattr(model, "criterion") else stats["roi/regions"]
        assert isinstance(self.make(), BoxForm) and torch.isfinite(seen.decoded()).all()
        layer = [p for name, p in model.named_parameters() if "bbox_pred.weight" in name]
        assert layer and all(p.grad.abs().sum() > 0 for p in layer)
        model.eval()
        model.score_threshold = 0.0
        with torch.no_grad():
            found = model(testing.batch(2, size=64)[0])
        assert all(torch.isfinite(one["boxes"]).all() and len(one["boxes"]) for one in found)
