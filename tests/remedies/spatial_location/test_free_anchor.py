"""FreeAnchor: by hand, a naive loop of its formula, gradients, no objects, and a bag that finds its best anchor."""

import math

import pytest
import torch

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.modeling.boxes import BoxCoder, pairwise_iou
from imbdet.modeling.defaults import SmoothL1
from imbdet.remedies.spatial_location.free_anchor import FreeAnchor, mean_max
from imbdet.structures import Objects
from imbdet.testing import random_boxes
from tests.helpers import Waits

A, M, K = 40, 3, 4
CODER = BoxCoder((10, 10, 5, 5))


def build(classes=K, **settings):
    return FreeAnchor(SmoothL1(0.11), CODER, classes, **{"bag": 6, "regression_weight": 0.75, **settings})


def scene(n=2, seed=0, dtype=torch.float32, classes=K, empty=False):
    """n images of A anchors, M objects of which the last image has none: regions, levels, objects, logits, outputs."""
    g = torch.Generator().manual_seed(seed)
    regions = random_boxes(A, seed, size=40).to(dtype)
    boxes = torch.stack([random_boxes(M, seed + 1 + i, size=30) for i in range(n)]).to(dtype)
    valid = (torch.arange(n).unsqueeze(1).expand(n, M) < n - 1) & (not empty)
    objects = Objects(boxes * valid.unsqueeze(2), torch.randint(0, classes, (n, M), generator=g) * valid, valid)
    logits = (torch.randn(n, A, classes, generator=g) * 2).to(dtype)
    outputs = (0.3 * torch.randn(n, A, 4, generator=g)).to(dtype)
    return regions, torch.zeros(A, dtype=torch.int64), objects, logits, outputs


def naive(regions, levels, objects, logits, outputs, bag=6, threshold=0.6, alpha=0.5, gamma=2.0, weight=0.75):
    """Both terms, object by object and anchor by anchor."""
    n, _, classes = logits.shape
    count = max(1, int(objects.valid.sum()))
    positive = negative = 0.0
    for i in range(n):
        p = logits[i].sigmoid().tolist()
        boxes = CODER.decode(outputs[i], regions)
        near = [[0.0] * classes for _ in range(A)]
        for j in range(M):
            if not objects.valid[i, j]:
                continue
            gt, label = objects.boxes[i, j], int(objects.labels[i, j])
            iou = pairwise_iou(gt[None], boxes)[0].tolist()
            top = max(max(iou), threshold + 1e-12)
            for a in range(A):
                near[a][label] = max(near[a][label], min(1.0, max(0.0, (iou[a] - threshold) / (top - threshold))))
            overlap = pairwise_iou(gt[None], regions)[0].tolist()
            chosen = sorted(range(A), key=lambda a: -overlap[a])[:bag]
            x = []
            for a in chosen:
                errors = (outputs[i, a] - CODER.encode(regions[a], gt)).abs().tolist()
                loss = sum(e * e / 0.22 if e < 0.11 else e - 0.055 for e in errors)
                x.append(p[a][label] * math.exp(-weight * loss))
            w = [1 / max(1 - value, 1e-12) for value in x]
            likelihood = sum(a * b for a, b in zip(w, x, strict=True)) / sum(w)
            positive -= alpha * math.log(max(likelihood, 1e-12))
        for a in range(A):
            for c in range(classes):
                q = min(max(p[a][c] * (1 - near[a][c]), 1e-12), 1 - 1e-7)
                negative -= (1 - alpha) * q**gamma * math.log(1 - q)
    return negative / (count * bag), positive / count


@pytest.mark.parametrize("settings", [{}, {"bag": 1}, {"threshold": 0.2, "alpha": 0.25, "gamma": 1.0}])
def test_against_a_naive_loop(settings):
    inputs = scene()
    with Waits() as waits:
        losses, stats = build(**settings).over_grid(*inputs)
    assert not waits.found, waits.found
    want = naive(*inputs, **settings)
    assert losses["loss_cls"].item() == pytest.approx(want[0], rel=1e-4)
    assert losses["loss_box_reg"].item() == pytest.approx(want[1], rel=1e-4)
    assert not any(torch.is_tensor(value) and value.requires_grad for value in stats.values())


def test_by_hand():
    """One object, one anchor right on it, another far off. p = 0.5, delta 0: x = 0.5, so -0.5 ln 0.5; the anchor's box
    is the object's best, so it is no negative; the other is one: 0.5 * 0.25 * ln 2.
    """
    objects = Objects(torch.tensor([[[0.0, 0, 10, 10]]]), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1).bool())
    regions = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    made = build(classes=1, bag=1)
    losses, _ = made.over_grid(regions, torch.zeros(2).long(), objects, torch.zeros(1, 2, 1), torch.zeros(1, 2, 4))
    assert losses["loss_box_reg"].item() == pytest.approx(0.5 * math.log(2))
    assert losses["loss_cls"].item() == pytest.approx(0.5 * 0.25 * math.log(2))


def test_mean_max_lies_between_the_mean_and_the_largest():
    x = torch.rand(50, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = mean_max(x)
    assert (found >= x.mean(dim=1)).all() and (found <= x.amax(dim=1)).all()
    assert mean_max(torch.tensor([[0.01, 0.02]])).item() == pytest.approx(0.015, abs=1e-4)
    assert mean_max(torch.tensor([[0.01, 0.999999]])).item() == pytest.approx(1, abs=1e-4)


def test_gradient_in_float64():
    """The bags' term, with gradient to scores and boxes of twelve anchors; P is a constant, as in the source."""
    regions, _, objects, logits, outputs = scene(dtype=torch.float64)
    made = build()

    def bags(logits, outputs):
        return made._bags(regions[:12], objects, logits.sigmoid(), outputs)[0][0].sum()

    few = logits[:, :12].clone().requires_grad_(), outputs[:, :12].clone().requires_grad_()
    assert torch.autograd.gradcheck(bags, few, atol=1e-6)


@pytest.mark.parametrize("classes", [1, K])
def test_no_objects_at_all(classes):
    regions, levels, objects, logits, outputs = scene(empty=True, classes=classes)
    logits, outputs = logits.requires_grad_(), outputs.requires_grad_()
    losses, stats = build(classes).over_grid(regions, levels, objects, logits, outputs)
    sum(losses.values()).backward()
    assert losses["loss_box_reg"] == 0 and losses["loss_cls"] > 0
    assert torch.isfinite(logits.grad).all() and (outputs.grad == 0).all()
    assert torch.isfinite(stats["regions"].classification).all()


@pytest.mark.parametrize("scale", [1e-3, 100.0, 1e4])
def test_extreme_outputs_have_finite_gradients(scale):
    regions, levels, objects, logits, outputs = scene()
    logits, outputs = (scale * logits).requires_grad_(), (scale * outputs).requires_grad_()
    losses, _ = build().over_grid(regions, levels, objects, logits, outputs)
    sum(losses.values()).backward()
    assert torch.isfinite(logits.grad).all() and torch.isfinite(outputs.grad).all()


def test_a_class_without_objects_is_only_a_negative():
    """Its logits are pushed down everywhere, those of the objects' classes up where they are in a bag."""
    regions, levels, objects, logits, outputs = scene()
    objects.labels.clamp_(max=K - 2)
    logits = logits.requires_grad_()
    losses, _ = build().over_grid(regions, levels, objects, logits, outputs)
    sum(losses.values()).backward()
    assert (logits.grad[..., K - 1] >= 0).all() and (logits.grad[0, :, : K - 1] < 0).any()


def test_mechanism_the_better_anchor_of_a_bag_takes_the_object():
    """Two anchors of one IoU with the object, one of which has features that tell: by gradient descent its score goes
    up and the other's down, where thresholds would teach both.
    """
    objects = Objects(torch.tensor([[[0.0, 0, 10, 10]]]), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1).bool())
    regions, levels = torch.tensor([[-2.0, 0, 8, 10], [2, 0, 12, 10]]), torch.zeros(2).long()
    made = build(classes=1, bag=2)
    logits = torch.tensor([[[0.5], [0.0]]], requires_grad=True)
    outputs = torch.zeros(1, 2, 4)
    outputs[0, 0, 0] = 2.0  # the first's box is right already, the second's cannot be
    optimizer = torch.optim.SGD([logits], lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        losses, stats = made.over_grid(regions, levels, objects, logits, outputs)
        sum(losses.values()).backward()
        optimizer.step()
    scores = logits.detach().sigmoid()[0, :, 0].tolist()
    assert scores[0] > 0.9 and scores[1] < 0.3 and stats["free_anchor/best_of_bag"] > 0.8
    matched = made.match(regions, levels, objects)
    assert matched.foreground.all(), "thresholds take both"


def test_it_trains_and_detects_and_refuses_what_it_would_ignore():
    words = ["data.train.num_images=12", "model.backbone.widths=[8,8,8,8,8]", "model.neck.channels=8"]
    torch.manual_seed(0)
    model = instantiate(load_config("baselines/retinanet_shapes", ["free_anchor"], words).model).train()
    losses, stats = model(*testing.batch(3, 0, size=64))
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert len(stats["regions"].matched) % 2 == 0 and torch.isfinite(stats["regions"].decoded()).all()
    model.eval()
    with torch.no_grad():
        assert torch.isfinite(model(testing.batch(2, size=64)[0])[0]["boxes"]).all()
    for remedy, slot in (("focal_loss", "classification"), ("ohem", "weighting"), ("atss", "matcher")):
        with pytest.raises(ValueError, match=f"needs the slot {slot}"):
            load_config("baselines/retinanet_shapes", ["free_anchor", remedy])
        with pytest.raises(ValueError, match="both fill the slot"):
            load_config("baselines/retinanet_shapes", [remedy, "free_anchor"])


@pytest.mark.parametrize("bad", [{"bag": 0}, {"threshold": 1.0}, {"alpha": 2}, {"gamma": -1}])
def test_bad_settings(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        build(**bad)
