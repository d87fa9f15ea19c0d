"""Boxes of uniform IoU: where they lie, scipy's tests of uniformity, numbers by hand, cost."""

import pytest
import torch

from imbdet.modeling.boxes import BoxCoder, paired_iou
from imbdet.modeling.count import OperatorCount
from imbdet.remedies.spatial_iou._box_generator import JitteredBoxes, UniformBoxes, boxes_at, owned, share_out
from imbdet.remedies.spatial_iou.iou_uniform_rois import IoUUniformRoIHeads
from tests.remedies.spatial_iou.scenes import HEIGHT, WIDTH, built, objects_of, uniformity


def squares(side, n=2, m=16, seed=0):
    """Objects of one size anywhere in the image, many of them at its border."""
    g = torch.Generator().manual_seed(seed)
    limit = torch.tensor([WIDTH - side, HEIGHT - side])
    corner = (torch.rand(n, m, 2, generator=g) * 1.4 - 0.2).clamp(0, 1) * limit
    return objects_of(torch.cat((corner, corner + side), dim=2))


KINDS_OF_OBJECTS = {
    "middle": squares(100),
    "4 pixels": squares(4),
    "2 pixels": squares(2),
    "whole image": objects_of(torch.tensor([[[0.0, 0, WIDTH, HEIGHT]]]).expand(2, 16, 4)),
    "at the border": objects_of(torch.tensor([[[0.0, 0, 30, HEIGHT], [WIDTH - 50, 5, WIDTH, 60]]]).repeat(2, 8, 1)),
}


@pytest.mark.parametrize("kind", KINDS_OF_OBJECTS)
@pytest.mark.parametrize("lowest", [0.05, 0.5])
def test_boxes_have_the_wanted_iou_inside_the_image(kind, lowest):
    """Also near 1, at the border, and for low targets; IoU in float64 by hand."""
    torch.manual_seed(0)
    objects, sizes = KINDS_OF_OBJECTS[kind]
    owner, _ = share_out(objects.valid.float(), 512)
    target = lowest + (1 - lowest) * torch.rand(2, 512)
    own = owned(objects, owner)
    boxes = boxes_at(own, target, sizes)
    a, b = boxes.double(), own.double()
    shared = (torch.minimum(a, b)[..., 2:] - torch.maximum(a, b)[..., :2]).clamp(min=0).prod(-1)
    iou = shared / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared)
    assert (iou - target).abs().max() < 2e-4
    assert boxes.min() >= 0 and boxes[..., 2].max() <= WIDTH and boxes[..., 3].max() <= HEIGHT


def test_boxes_leave_in_all_directions():
    torch.manual_seed(0)
    objects, sizes = objects_of(torch.tensor([[[200.0, 200, 300, 280]]]))
    boxes = boxes_at(objects.boxes.expand(1, 4000, 4), torch.full((1, 4000), 0.6), sizes)[0]
    deltas = BoxCoder().encode(objects.boxes[0].expand(4000, 4), boxes)
    assert (deltas.mean(dim=0).abs() < 0.02).all() and (deltas.std(dim=0) > 0.1).all()


def test_an_object_outside_of_the_image_is_cut_first():
    outside = torch.tensor([[[-50.0, 10, 50, 110], [600, 400, 700, 500]]])
    objects, sizes = objects_of(outside)
    boxes = boxes_at(objects.boxes, torch.full((1, 2), 0.7), sizes)
    inside = torch.tensor([[[0.0, 10, 50, 110], [600, 400, 640, 480]]])
    assert torch.allclose(paired_iou(boxes, inside), torch.tensor(0.7), atol=2e-4)


def test_objects_without_area_in_the_image_give_no_region():
    empty = torch.tensor([[[-90.0, 10, -50, 60], [700, 10, 800, 60], [30, 30, 30, 30], [10, 10, 60, 60]]])
    objects, sizes = objects_of(empty)
    boxes, owner, valid = UniformBoxes(10)(objects, sizes, 40)
    assert valid.all() and torch.isfinite(boxes).all() and boxes.min() >= 0
    heads = built(IoUUniformRoIHeads, per_image=40, generator=UniformBoxes(10))
    matched = heads.generate(objects, sizes)
    assert (matched.objects[matched.foreground] == 3).all() and matched.foreground.sum() == 10


def test_share_out_by_hand():
    """Weights 1, 0, 2 of 9 boxes: 3, 0, 6, give or take one; none where all weights are 0; or fewer than the places."""
    torch.manual_seed(0)
    weights = torch.tensor([[1.0, 0, 2], [0, 0, 0], [0, 1, 0]])
    owner, valid = share_out(weights, 9)
    assert torch.bincount(owner[0], minlength=3).sub(torch.tensor([3, 0, 6])).abs().max() <= 1
    assert valid.tolist() == [[True] * 9, [False] * 9, [True] * 9] and (owner[2] == 1).all()
    owner, valid = share_out(weights, 8, wanted=torch.tensor([[6], [6], [3]]))
    assert torch.bincount(owner[0][valid[0]], minlength=3).tolist() == [2, 0, 4]
    assert valid.sum(dim=1).tolist() == [6, 0, 3]


def test_number_of_boxes():
    valid = torch.arange(16) < torch.tensor([[16], [2], [0]])
    objects, sizes = objects_of(torch.tensor([10.0, 10, 60, 60]).expand(3, 16, 4), valid)
    boxes, owner, real = UniformBoxes(per_object=20)(objects, sizes, 100)
    assert boxes.shape == (3, 100, 4) and real.sum(dim=1).tolist() == [100, 40, 0]
    assert torch.bincount(owner[1][real[1]]).tolist() == [20, 20]
    assert UniformBoxes(per_object=2)(objects, sizes, 100)[0].shape == (3, 32, 4)


def iou_of(generator, kind, most=1024):
    """IoU of all valid boxes with their own object."""
    torch.manual_seed(1)
    objects, sizes = KINDS_OF_OBJECTS[kind]
    boxes, owner, valid = generator(objects, sizes, most)
    assert boxes.min() >= 0 and boxes[..., 2].max() <= WIDTH and boxes[..., 3].max() <= HEIGHT
    return paired_iou(boxes, owned(objects, owner))[valid].double().numpy()


@pytest.mark.parametrize("kind", KINDS_OF_OBJECTS)
def test_mechanism_generated_boxes_are_uniform_in_iou(kind):
    iou = iou_of(UniformBoxes(), kind)
    assert len(iou) == 2048 and min(uniformity(iou)) > 0.01


@pytest.mark.parametrize("kind", ["middle", "at the border"])
def test_mechanism_the_authors_sampler_is_not(kind):
    iou = iou_of(JitteredBoxes(), kind)
    assert len(iou) > 1000 and max(uniformity(iou)) < 1e-6


def test_jittered_boxes_lie_in_their_interval():
    """Inside of the interval that they were drawn for, 16 at most of each for each object."""
    torch.manual_seed(0)
    objects, sizes = KINDS_OF_OBJECTS["middle"]
    boxes, owner, valid = JitteredBoxes()(objects, sizes, 4096)
    iou = paired_iou(boxes, owned(objects, owner))
    for i, (low, high) in enumerate([(0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 1.0)]):
        part = (torch.arange(boxes.shape[1]) // 16 % 4 == i) & valid
        assert (iou[part] > low).all() and (iou[part] <= high).all()
        counts = [int((part[n] & (owner[n] == m)).sum()) for n in range(2) for m in range(16)]
        assert max(counts) == 16
    assert JitteredBoxes()(objects, sizes, 100)[2].sum(dim=1).tolist() == [100, 100]
    assert not JitteredBoxes()(*objects_of(objects.boxes, torch.zeros(2, 16, dtype=torch.bool)), 100)[2].any()


@pytest.mark.parametrize("generator", [UniformBoxes(), JitteredBoxes()])
def test_generator_repeats_under_a_seed_and_waits_for_nothing(generator):
    objects, sizes = KINDS_OF_OBJECTS["middle"]
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        with OperatorCount() as count:
            results.append(generator(objects, sizes, 256))
        assert count.synchronizations == 0
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_generator_is_quick():
    """512 boxes of 16 objects take as many operators as 16 boxes: no loop over boxes, whatever the machine."""
    counts = []
    for number in (16, 512):
        objects, sizes = squares(100, n=1)
        with OperatorCount() as count:
            UniformBoxes(32)(objects, sizes, number)
        counts.append(count.operators)
    assert counts[0] == counts[1] < 700


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UniformBoxes(0), "per_object >= 1"),
        (lambda: UniformBoxes(low=0.9, high=0.8), "0.05 <= low <= high <= 1"),
        (lambda: JitteredBoxes(per_interval=9, tries=8), "1 <= per_interval <= tries"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
