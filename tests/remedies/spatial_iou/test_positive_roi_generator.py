"""Positive RoI generator: the neutral setting, IoU by the wanted distribution (scipy), classes in equal shares, no
proposal left that is foreground, and what the engine asks of it.
"""

import pytest
import torch
from scipy import stats

from imbdet import testing
from imbdet.config import load_config
from imbdet.modeling.boxes import pairwise_iou
from imbdet.modeling.count import OperatorCount
from imbdet.modeling.rpn import RPN
from imbdet.remedies.spatial_iou.positive_roi_generator import PositiveRoIGenerator
from imbdet.structures import Objects
from tests.remedies.engine_checks import check_resume, check_two_processes
from tests.remedies.spatial_iou.inside import KINDS, check_trains_and_detects, count_operators, detector

NAME = "positive_roi_generator"
PUBLISHED = torch.tensor([0.73, 0.12, 0.15, 0.05, 0.0]) / 1.05


def generator(**settings):
    return PositiveRoIGenerator(anchors=None, criterion=None, **settings)


def grid(labels):
    """One image with objects of 30 pixels side by side."""
    corner = torch.arange(len(labels)).unsqueeze(1) * torch.tensor([40.0, 0]) + torch.tensor([5.0, 20])
    boxes = torch.cat((corner, corner + 30), dim=1).unsqueeze(0)
    valid = torch.tensor([[label >= 0 for label in labels]])
    sizes = torch.tensor([[90, 40 * len(labels)]])
    return Objects(boxes, torch.tensor([labels]).clamp(min=0), valid), sizes


def test_neutral_equals_faster_rcnn():
    """No box generated and the objects left in: every loss and detection to the last bit."""
    words = ["model.rpn.count=0", "model.roi_heads.append_objects=true"]
    results = []
    for model in (detector(NAME, words=words), detector()):
        torch.manual_seed(1)
        losses, _ = model.train()(*testing.batch(2, 0, size=64))
        with torch.no_grad():
            found = model.eval()(testing.batch(2, 0, size=64)[0])
        results.append(([v.item() for v in losses.values()], [v for d in found for v in d.values()]))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


@pytest.mark.parametrize("weights", [PUBLISHED.tolist(), [1, 1, 1, 1, 1], [0, 0, 0, 0.64, 0.36]])
def test_iou_by_the_wanted_distribution(weights):
    """Counts of the bins by chi-square, and within the first bin that is used Kolmogorov-Smirnov against uniform."""
    torch.manual_seed(0)
    objects, sizes = grid([0, 1, 2])
    boxes, valid = generator(count=3000, weights=weights).generate(objects, sizes)
    iou = pairwise_iou(objects.boxes, boxes).amax(dim=1)[valid]
    assert valid.all(), "objects apart from each other: each box is its own object's"
    counts = torch.histc(iou, 5, 0.5, 1.0)
    used = torch.tensor(weights) > 0
    assert (counts[~used] == 0).all()
    expected = torch.tensor(weights)[used] / sum(weights) * 3000
    assert stats.chisquare(counts[used].double().numpy(), expected.double().numpy()).pvalue > 0.01
    first = 0.5 + 0.1 * int(used.nonzero()[0])
    inside = iou[(iou >= first) & (iou < first + 0.1)].double().numpy()
    assert stats.kstest(inside, stats.uniform(first, 0.1).cdf).pvalue > 0.01


def test_classes_in_equal_shares_and_objects_within_a_class():
    """Classes 0, 0, 0, 1 and a padded place: a sixth for each of the first three, half for the fourth."""
    torch.manual_seed(0)
    objects, sizes = grid([0, 0, 0, 1, -1])
    boxes, valid = generator(count=120).generate(objects, sizes)
    owner = pairwise_iou(objects.boxes, boxes).argmax(dim=1)[valid]
    counts = torch.bincount(owner, minlength=5)
    assert valid.sum() == 120 and (counts - torch.tensor([20, 20, 20, 60, 0])).abs().max() <= 1


def test_boxes_that_overlap_another_object_more_are_left_out():
    torch.manual_seed(0)
    boxes = torch.tensor([[[10.0, 10, 60, 60], [14, 10, 64, 60]]])
    objects = Objects(boxes, torch.tensor([[0, 1]]), torch.ones(1, 2, dtype=torch.bool))
    made, valid = generator(count=200).generate(objects, torch.tensor([[90, 90]]))
    best = pairwise_iou(boxes, made)[0].argmax(dim=0)
    first = torch.arange(200) < 100  # owners come in order, half of the boxes each
    assert torch.equal(valid[0], torch.where(first, best == 0, best == 1)) and 50 < valid.sum() < 200


def test_objects_without_area_in_the_image_get_no_box():
    boxes = torch.tensor([[[-60.0, 10, -10, 60], [20, 20, 20, 40], [10, 10, 60, 60]]])
    objects = Objects(boxes, torch.tensor([[0, 1, 2]]), torch.ones(1, 3, dtype=torch.bool))
    made, valid = generator(count=30).generate(objects, torch.tensor([[90, 90]]))
    assert valid[0].tolist() == [False] * 20 + [True] * 10 and torch.isfinite(made).all()


def regions_of(model, batch, words=()):
    """Matched regions of the RoI head, and what the proposals were."""
    seen = {}
    hook = model.rpn.register_forward_hook(lambda module, args, output: seen.update(boxes=output[0], valid=output[1]))
    _, found = model.train()(*batch)
    hook.remove()
    return found["roi/regions"].matched, seen["boxes"], seen["valid"]


def test_no_proposal_is_foreground_and_no_object_is_a_region():
    model, batch = detector(NAME), testing.batch(3, 2, size=96)
    matched, boxes, valid = regions_of(model, batch)
    proposals = boxes[:, : -model.rpn.count], valid[:, : -model.rpn.count]
    for image, target in enumerate(batch[1]):
        overlap = pairwise_iou(target["boxes"], proposals[0][image]).amax(dim=0)
        assert not (proposals[1][image] & (overlap >= 0.5)).any() and (overlap >= 0.5).any()
    assert matched.foreground.sum() == 32, "a quarter of 64 regions of each of two images, all generated"
    assert matched.iou[matched.foreground].max() < 1.0, "an object would have IoU 1"


def test_mechanism_the_foreground_follows_the_wanted_distribution():
    """Equal weights: IoU of the RoI head's foreground in training is uniform, the plain RPN's is not."""
    words = ["model.roi_heads.criterion.region_sampler.per_image=2000", "model.rpn.count=100"]
    torch.manual_seed(0)
    batch = testing.batch(*[2] * 8, size=96)
    model = detector(NAME, words=[*words, "model.rpn.weights=[1, 1, 1, 1, 1]"])
    generated, _, _ = regions_of(model, batch)
    plain, _, _ = regions_of(detector(words=words[:1]), batch)
    iou = [one.iou[one.foreground].double().numpy() for one in (generated, plain)]
    p = [stats.kstest(values, stats.uniform(0.5, 0.5).cdf).pvalue for values in iou]
    assert len(iou[0]) > 500 and len(iou[1]) > 30 and p[0] > 0.01 and p[1] < 1e-3


def test_at_test_it_is_the_rpn():
    model, plain = detector(NAME), detector()
    plain.load_state_dict(model.state_dict())
    batch = testing.batch(2, 1, size=64)[0]
    with torch.no_grad():
        found = [one.eval()(batch) for one in (model, plain)]
    assert isinstance(plain.rpn, RPN) and not isinstance(plain.rpn, PositiveRoIGenerator)
    assert all(torch.equal(a[key], b[key]) for a, b in zip(*found, strict=True) for key in a)


def test_generation_waits_for_nothing():
    objects, sizes = grid([0, 1, 2])
    with OperatorCount() as count:
        generator().generate(objects, sizes)
    assert count.synchronizations == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bases": [0.5, 0.5, 0.7]}, r"bases must rise.*got \[0.5, 0.5, 0.7\]"),
        ({"bases": [0.0, 0.6], "weights": [1, 1]}, "bases must rise"),
        ({"weights": [1, 1]}, r"one for each of the 5 bases.*got \[1, 1\]"),
        ({"weights": [0, 0, 0, 0, 0]}, "not negative; got"),
        ({"count": 5000}, r"count must be 0\.\.4096 boxes an image, got 5000"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        generator(**settings)


# ---- whole detectors


@pytest.fixture(scope="module")
def model():
    return detector(NAME)


@pytest.mark.parametrize(("kind", "half"), KINDS)
def test_any_number_and_size_of_objects_trains(model, kind, half):
    check_trains_and_detects(model, kind, half)


def test_operators_and_waits_do_not_grow_with_the_images(model):
    assert max(count.synchronizations for count in count_operators(model)) <= 40


def test_it_serves_a_cascade_too():
    """In either order of --remedy; the generated boxes are the first stage's foreground."""
    model, other = detector(NAME, "cascade_rcnn"), load_config("baselines/faster_rcnn_shapes", ["cascade_rcnn", NAME])
    assert other.model.rpn.count == 128 and other.model.roi_heads.append_objects is False
    check_trains_and_detects(model, (3, 1), False)
    matched, _, _ = regions_of(model, testing.batch(3, 2, size=96))
    assert matched.foreground.sum() == 32 and matched.iou[matched.foreground].max() < 1.0


@pytest.mark.slow
def test_resume(tmp_path, monkeypatch):
    check_resume(tmp_path, NAME, monkeypatch)


@pytest.mark.slow
def test_two_processes(tmp_path):
    check_two_processes(tmp_path, NAME)
