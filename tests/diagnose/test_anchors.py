"""Sections 2, 5 and 6: of the config's own parts, against the criterion on real batches, loops and numbers by hand."""

import numpy as np
import pytest
import torch

from imbdet.config import load_config
from imbdet.data.datasets.shapes import shapes
from imbdet.diagnose.anchors import anchored, best_anchor_iou, match_sample
from imbdet.diagnose.foreground import diagnose_foreground
from imbdet.diagnose.iou import diagnose_iou
from imbdet.diagnose.regression import diagnose_regression, held_by_largest
from imbdet.diagnose.size import usable
from imbdet.diagnose.structures import Missing
from imbdet.modeling.boxes import pairwise_iou
from imbdet.modeling.preprocess import pad_objects

from .helpers import box, make_records

SMALL = ["data.train.num_images=8", "data.val.num_images=4", "data.test.num_images=4"]


@pytest.fixture(scope="module", params=["baselines/retinanet_shapes", "baselines/faster_rcnn_shapes"])
def part(request):
    return anchored(load_config(request.param), make_records([[box(0)]], classes=tuple("abcdefghij")))


@pytest.fixture(scope="module")
def records():
    return shapes(split="train", seed=0, num_images=8, class_ratio=5.0)


def test_the_grid_is_the_detectors(part):
    """Maps of a real batch through backbone and neck have the shapes that `Anchored.shapes` says."""
    from imbdet.config import instantiate

    model = instantiate(load_config("baselines/retinanet_shapes", overrides=SMALL).model).eval()
    mine = anchored(load_config("baselines/retinanet_shapes"), make_records([[box(0)]], classes=tuple("abcdefghij")))
    for height, width in ((128, 128), (100, 131)):
        batch, _ = model.preprocess([torch.zeros(3, height, width, dtype=torch.uint8)])
        with torch.no_grad():
            features = model.neck(model.backbone(batch))
        assert [tuple(f.shape[-2:]) for f in features.values()] == mine.shapes(height, width)
        assert torch.equal(model.anchors(list(features.values()))[0], mine.grid(height, width)[0])


def test_counts_equal_the_criterion_on_each_image(part, records):
    torch.manual_seed(0)
    sample = match_sample(records, part)
    assert len(sample.images) == 8
    for row, image in enumerate(sample.images):
        target = records.target(int(image))
        labels = torch.zeros_like(target["labels"]) if part.any_class else target["labels"]
        objects = pad_objects([{"boxes": target["boxes"], "labels": labels}], torch.device("cpu"), 10)
        anchors, levels = part.grid(128, 128)
        matched = part.criterion.match(anchors, levels, objects)
        assert sample.counts["foreground"][row].sum() == int(matched.foreground.sum())
        assert sample.counts["background"][row].sum() == int(matched.background.sum())
        assert sample.counts["regions"][row].sum() == len(anchors)
    numbers = diagnose_foreground(sample, part)
    total = numbers["total"]
    assert total["foreground"] + total["background"] + total["ignored"] == pytest.approx(total["regions"])
    assert numbers["negatives_per_positive"] == pytest.approx(total["background"] / total["foreground"])
    kept = numbers["kept_negatives_per_positive"]
    assert kept == pytest.approx(total["kept_background"] / total["kept_foreground"])
    assert total["kept_foreground"] <= total["foreground"] and total["kept_background"] <= total["background"]
    assert sum(level["foreground"] for level in numbers["levels"]) == pytest.approx(total["foreground"])


def test_best_anchor_equals_the_maximum_over_all_anchors(part):
    """Objects of all sizes, also ones that hang over the border, against pairwise IoU with the whole grid."""
    rng = np.random.default_rng(0)
    images = [[(0, *rng.uniform(-5, 110, 2), *np.exp(rng.uniform(0.5, 4.7, 2))) for _ in range(9)] for _ in range(6)]
    records = make_records(images, sizes=[(128, 128), (131, 100), (100, 131), (60, 40), (200, 90), (128, 128)])
    keep = usable(records)
    best, level = best_anchor_iou(records, keep, part)
    for image in range(6):
        mine = np.flatnonzero(records.object_image == image)
        boxes = torch.tensor(np.hstack([records.xywh[mine, :2], records.xywh[mine, :2] + records.xywh[mine, 2:]]))
        limits = torch.tensor([records.widths[image], records.heights[image]] * 2)
        boxes = torch.minimum(boxes.clamp(min=0), limits)
        anchors, levels = part.grid(int(records.heights[image]), int(records.widths[image]))
        iou = pairwise_iou(boxes, anchors.double())
        assert best[mine] == pytest.approx(iou.amax(dim=1).numpy(), abs=1e-5)
        clear = (iou.amax(dim=1) > 0.01).numpy()
        at_level = [[float(row[levels == i].max()) for i in range(len(part.strides))] for row in iou]
        for index, per_level in zip(mine[clear], np.array(at_level)[clear], strict=True):
            assert per_level[level[index]] == pytest.approx(max(per_level), abs=1e-5)


def test_iou_section_adds_up(part, records):
    numbers = diagnose_iou(records, match_sample(records, part), part)
    assert sum(numbers["best"]) == usable(records).sum() == sum(numbers["best_per_level"].values())
    assert numbers["objects"] == sum(len(records.target(i)["labels"]) for i in range(8))
    assert numbers["unmatched"] == 0  # the matcher takes the best anchor of each
    assert numbers["threshold"] == part.criterion.matcher.foreground
    best, _ = best_anchor_iou(records, usable(records), part)
    assert numbers["below"] == pytest.approx((best < numbers["threshold"]).mean()) != 0.5
    assert numbers["worst"][0]["iou"] == min(row["iou"] for row in numbers["worst"])


def test_objects_without_a_positive_are_found(part):
    """A matcher that asks for IoU 0.5 and no less leaves a box of 2 x 90 pixels alone."""
    from imbdet.modeling.defaults import ThresholdMatcher

    strict = part.criterion.matcher
    part.criterion.matcher = ThresholdMatcher(0.5, 0.4)
    try:
        x1, y1, x2, y2 = (part.anchors.cells[0][0] + 64).tolist()
        fits = (0, x1, y1, x2 - x1, y2 - y1)
        sample = match_sample(make_records([[box(1, 10, 10, 2, 90), fits], []], size=(128, 128)), part)
    finally:
        part.criterion.matcher = strict
    assert sample.unmatched.tolist() == [0] and sample.objects.tolist() == [0, 1] and len(sample.images) == 1


def test_targets_are_the_box_coders(part, records):
    sample = match_sample(records, part)
    numbers = diagnose_regression(sample, part)
    assert numbers["positives"] == sample.counts["foreground"].sum() == len(sample.positives["deltas"])
    assert numbers["targets"]["dw"]["mean"] == pytest.approx(float(sample.positives["deltas"][:, 2].mean()), abs=1e-5)


def test_the_configs_own_loss_is_the_criterions(part, records):
    """The shipped configs regress by L1 (smooth L1 with beta 0): the loss is the sum of |delta|, each gradient 1."""
    sample = match_sample(records, part)
    assert sample.positives["loss"] == pytest.approx(np.abs(sample.positives["deltas"]).sum(axis=1), rel=1e-4, abs=1e-5)
    assert set(np.unique(sample.positives["gradient"]).tolist()) <= {0.0, 1.0}
    own = diagnose_regression(sample, part)["own"]
    assert own["gradient"] == pytest.approx([0.01, 0.05, 0.1], abs=0.003) and own["loss"][2] > 0.1


def test_shares_of_the_largest_errors_by_hand():
    """20 errors: 19 of 1 and one of 3. L2: 9 / 28 of the loss, 6 / 44 of the gradient; smooth L1: 2.5 / 12;
    L1: 3 / 22.
    """
    held = held_by_largest(np.array([1.0] * 19 + [-3.0]))
    assert held["L2"]["loss"] == pytest.approx([9 / 28, 9 / 28, 10 / 28])
    assert held["L2"]["gradient"][0] == pytest.approx(6 / 44)
    assert held["smooth L1 (beta 1)"]["loss"][0] == pytest.approx(2.5 / 12)
    assert held["smooth L1 (beta 1)"]["gradient"][0] == pytest.approx(1 / 20)
    assert held["L1"]["loss"][0] == pytest.approx(3 / 22) and held["L1"]["gradient"][0] == pytest.approx(1 / 20)


def test_losses_and_gradients_are_torchs():
    from torch.nn import functional as F

    from imbdet.diagnose.regression import losses

    errors = np.array([0.0, 0.3, 0.99, 1.5, 4.0])
    functions = {"L2": F.mse_loss, "smooth L1 (beta 1)": F.smooth_l1_loss, "L1": F.l1_loss}
    for name, (loss, gradient) in losses().items():
        x = torch.tensor(errors, requires_grad=True)
        value = functions[name](x, torch.zeros(5, dtype=torch.float64), reduction="none")
        value.sum().backward()
        assert loss(errors) == pytest.approx(value.detach().numpy()), name
        assert gradient(errors)[1:] == pytest.approx(x.grad.numpy()[1:]), name  # at 0 torch's L1 takes 0


def test_no_box_and_no_anchors_are_said(part):
    with pytest.raises(Missing, match="No image has a box"):
        match_sample(make_records([[], []]), part)
