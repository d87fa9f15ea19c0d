"""Cascade R-CNN: one stage equals the RoI head, a naive loop over regions, gradients between stages, scores at test,
what the engine asks of it, every remedy of an RoI slot inside of it, and proposals that improve from stage to stage.

Its losses, gradients and detections beside detectron2's stand in tests/modeling/test_parity.py.
"""

import pytest
import torch
from torch import nn

from imbdet import testing
from imbdet.modeling.boxes import BoxCoder, paired_iou
from imbdet.modeling.defaults import RandomSampling, SigmoidCrossEntropy, SmoothL1, ThresholdMatcher
from imbdet.modeling.roi_heads import RoIHeads
from imbdet.remedies.spatial_iou.cascade_rcnn import CascadeRoIHeads, ScaleGradient
from imbdet.slots import Matcher
from imbdet.testing import random_boxes
from tests.remedies.spatial_iou.inside import (
    detector,
)
from tests.remedies.spatial_iou.scenes import SIZE, K, built, criterion, without_objects, world

ONE = {"ious": [0.5], "box_weights": [[10, 10, 5, 5]]}
WEIGHTS = [(10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15)]


def regions(stats):
    """The matched regions of each stage."""
    names = ["roi/regions", "roi_stage1/regions", "roi_stage2/regions"]
    return [stats[name].matched for name in names if name in stats]


@pytest.fixture(scope="module")
def trained():
    """Three stages after 60 steps, 2 seconds."""
    heads = built(CascadeRoIHeads, widths=[64])
    optimizer = torch.optim.Adam(heads.parameters(), lr=1e-2)
    for step in range(60):
        losses, _ = heads(*world(seed=step + 1))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    return heads


def test_one_stage_equals_the_roi_head():
    """Neutral: with the same seed, every loss, gradient, score and box to the last bit."""
    one, plain_heads = built(CascadeRoIHeads, **ONE), built(RoIHeads, class_agnostic=True)
    features, boxes, valid, objects, sizes = world()
    maps = [{"p2": features["p2"].clone().requires_grad_()} for _ in range(2)]
    ours, stats = one(maps[0], boxes, valid, objects, sizes)
    theirs, plain_stats = plain_heads(maps[1], boxes, valid, objects, sizes)
    assert {k.removesuffix("_stage0"): v.item() for k, v in ours.items()} == {k: v.item() for k, v in theirs.items()}
    assert set(stats) == {*plain_stats, "roi/above_0.7"}
    sum(ours.values()).backward()
    sum(theirs.values()).backward()
    assert torch.equal(maps[0]["p2"].grad, maps[1]["p2"].grad)
    grads = {name.replace(".0.", "."): p.grad for name, p in one.named_parameters()}
    other = {name: p.grad for name, p in plain_heads.named_parameters()}
    assert grads.keys() == other.keys() and all(torch.equal(grads[name], other[name]) for name in grads)
    for a, b in zip(one.predict(features, boxes, sizes), plain_heads.predict(features, boxes, sizes), strict=True):
        assert torch.equal(a, b)


def test_one_stage_equals_faster_rcnn():
    """Neutral, through the config: the whole detector in training and in eval."""
    one = ["model.roi_heads.ious=[0.5]", "model.roi_heads.box_weights=[[10, 10, 5, 5]]"]
    models = detector("cascade_rcnn", words=one), detector(words=["model.roi_heads.class_agnostic=true"])
    batch, results = testing.batch(2, 0, size=64), []
    for model in models:
        torch.manual_seed(1)
        losses, _ = model.train()(*batch)
        with torch.no_grad():
            found = model.eval()(batch[0])
        results.append(([v.item() for v in losses.values()], [v for d in found for v in d.values()]))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


def test_against_a_naive_loop():
    """Region by region: the boxes of each stage are those of the last one decoded and cut, and each gets the object
    that it overlaps most, from the stage's IoU on.
    """
    heads = built(CascadeRoIHeads)
    with torch.no_grad():
        for predictor in heads.box_predictor:
            nn.init.normal_(predictor.bbox_pred.weight, std=0.3)
    features, boxes, valid, objects, sizes = world(p=8)
    _, stats = heads(features, boxes, valid, objects, sizes)
    before, first = None, torch.cat((boxes, objects.boxes), dim=1).view(-1, 4)
    for t, (found, iou) in enumerate(zip(regions(stats), (0.5, 0.6, 0.7), strict=True)):
        if before is None:
            expected = first
        else:
            pooled = heads.pooler(features, before.boxes, before.images)
            _, deltas = heads.stages[t - 1].head(pooled)
            expected = BoxCoder(WEIGHTS[t - 1]).decode(deltas[:, 0], before.boxes).clamp(0, SIZE)
        assert torch.allclose(found.boxes, expected, atol=1e-4)
        for r in range(len(found)):
            image = int(found.images[r])
            overlaps = [paired_iou(found.boxes[r], box).item() for box in objects.boxes[image]]
            best = max(range(4), key=lambda m, overlaps=overlaps: overlaps[m])
            assert found.iou[r].item() == pytest.approx(overlaps[best], abs=1e-5)
            assert found.labels[r] == (objects.labels[image, best] if overlaps[best] >= iou else K)
        before = found
    assert not torch.allclose(regions(stats)[0].boxes, regions(stats)[2].boxes, atol=1.0)


def test_foreground_of_each_stage(trained):
    _, stats = trained(*world(seed=500))
    for found, iou in zip(regions(stats), (0.5, 0.6, 0.7), strict=True):
        assert found.foreground.any() and found.background.any()
        assert found.iou[found.foreground].min() >= iou and found.iou[found.background].max() < iou


def test_boxes_of_later_stages_are_inside_and_without_gradient(trained):
    features, *rest = world(seed=501)
    _, stats = trained({"p2": features["p2"].requires_grad_()}, *rest)
    for found in regions(stats)[1:]:
        assert not found.boxes.requires_grad
        assert found.boxes.min() >= 0 and found.boxes.max() <= SIZE


@pytest.mark.parametrize("weights", WEIGHTS)
def test_box_codes_invert(weights):
    coder, a, b = BoxCoder(weights), random_boxes(50), random_boxes(50, seed=1)
    assert torch.allclose(coder.decode(coder.encode(a, b), a), b, atol=1e-3)


def test_scale_gradient():
    x = torch.randn(5, requires_grad=True)
    y = ScaleGradient.apply(x, 0.25)
    assert torch.equal(y, x)
    y.backward(torch.arange(5.0))
    assert torch.equal(x.grad, torch.arange(5.0) / 4)


def gradients(scale):
    heads = built(CascadeRoIHeads, gradient_scale=scale)
    features, *rest = world()
    maps = {"p2": features["p2"].requires_grad_()}
    losses, _ = heads(maps, *rest)
    sum(losses.values()).backward()
    return losses, maps["p2"].grad, {name: p.grad for name, p in heads.named_parameters()}


def test_only_the_features_get_a_third_of_the_gradient():
    (losses, third, heads), (same, whole, same_heads) = gradients(None), gradients(1.0)
    assert all(torch.equal(losses[name], same[name]) for name in losses)
    assert all(torch.equal(heads[name], same_heads[name]) for name in heads)
    assert torch.allclose(3 * third, whole, rtol=1e-5, atol=1e-8) and whole.abs().sum() > 0


def test_loss_weights_multiply_each_stage():
    plain_losses, _ = built(CascadeRoIHeads)(*world())
    weighted, _ = built(CascadeRoIHeads, loss_weights=[1.0, 0.5, 0.25])(*world())
    names = [f"loss_{kind}_stage{t}" for t in range(3) for kind in ("cls", "box_reg")]
    assert list(weighted) == names
    for name, factor in zip(names, (1, 1, 0.5, 0.5, 0.25, 0.25), strict=True):
        assert weighted[name].item() == pytest.approx(factor * plain_losses[name].item(), rel=1e-6)


@pytest.mark.parametrize("score_last", [False, True])
def test_scores_are_the_mean_of_the_stages(trained, score_last):
    """Of each on its own regions, or of all on the last stage's; the boxes are the same."""
    features, boxes, _, _, sizes = world(n=1, p=5, seed=502)
    heads = built(CascadeRoIHeads, widths=[64], score_last=score_last)
    heads.load_state_dict(trained.state_dict())
    nn.init.constant_(heads.box_predictor[0].bbox_pred.bias, 6.0)  # out of the image at its right and lower border
    images, own, pooled = torch.zeros(5, dtype=torch.long), [], []
    current = boxes[0]
    for stage, weights in zip(heads.stages, WEIGHTS, strict=True):
        current = current.clamp(0, SIZE)
        pooled.append(heads.pooler(features, current, images))
        logits, deltas = stage.head(pooled[-1])
        own.append(logits.softmax(dim=1))
        current = BoxCoder(weights).decode(deltas[:, 0], current)
    on_last = [stage.head(pooled[-1])[0].softmax(dim=1) for stage in heads.stages]
    want = torch.stack(on_last if score_last else own).mean(dim=0)
    scores, refined = heads.predict(features, boxes, sizes)
    assert torch.allclose(want.sum(dim=1), torch.ones(5)) and torch.allclose(scores[0], want[:, :-1], atol=1e-6)
    assert torch.allclose(refined[0, :, 0], current, atol=1e-4) and refined.shape == (1, 5, 1, 4)
    other = torch.stack(own if score_last else on_last).mean(dim=0)
    assert not torch.allclose(scores[0], other[:, :-1], atol=1e-3)


def test_equal_heads_on_equal_regions_score_as_one():
    heads = built(CascadeRoIHeads)
    for parts in (heads.box_head, heads.box_predictor):
        for later in parts[1:]:
            later.load_state_dict(parts[0].state_dict())
    for predictor in heads.box_predictor:
        nn.init.zeros_(predictor.bbox_pred.weight)
    features, boxes, _, _, sizes = world()
    scores, refined = heads.predict(features, boxes, sizes)
    single, _ = built(RoIHeads, class_agnostic=True).predict(features, boxes, sizes)  # the weights of the first stage
    assert torch.allclose(scores, single, atol=1e-6) and torch.allclose(refined.squeeze(2), boxes, atol=1e-4)


def test_objects_stay_or_leave_before_the_second_stage():
    """The 2 x 4 objects among the regions have IoU 1: as the authors do they leave, as detectron2 does they stay."""
    counts = {}
    for keep in (True, False):
        _, stats = built(CascadeRoIHeads, keep_objects=keep)(*world())
        counts[keep] = [int(found.considered.sum()) for found in regions(stats)]
    assert counts == {True: [56, 56, 56], False: [56, 48, 48]}


def test_regions_that_were_not_sampled_or_vanish_stay_out():
    sampled = criterion(region_sampler=RandomSampling(10, 0.5))
    heads = built(CascadeRoIHeads, criterion=sampled)
    features, boxes, valid, objects, sizes = world()
    valid = valid & (torch.arange(24) < 3)  # 3 proposals and 4 objects: the sample cannot be filled
    _, stats = heads(features, boxes, valid, objects, sizes)
    sizes_of_sample = [int(found.considered.sum()) for found in regions(stats)]
    assert len(set(sizes_of_sample)) == 1 and sizes_of_sample[0] <= 14
    assert len({len(found) for found in regions(stats)}) == 1 and len(regions(stats)[0]) == 20
    for predictor in heads.box_predictor:
        nn.init.constant_(predictor.bbox_pred.bias[:1], 1000.0)  # 50 widths to the right, or more
    _, stats = heads(features, boxes, valid, objects, sizes)
    assert [int(found.considered.sum()) for found in regions(stats)[1:]] == [0, 0]


class Constant(nn.Module, Matcher):
    """A matcher of its own kind, with a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("limit", torch.tensor(0.3))

    def forward(self, iou, valid):
        best, which = iou.max(dim=1)
        return which, best, (best >= self.limit).to(torch.int8)


def test_a_matcher_of_another_kind_stays_and_is_told_of():
    with pytest.warns(UserWarning, match="ious are not used: Constant matches in every stage"):
        heads = built(CascadeRoIHeads, criterion=criterion(matcher=Constant()))
    matchers = [one.matcher for one in heads.criterion]
    assert all(isinstance(matcher, Constant) for matcher in matchers) and len(set(map(id, matchers))) == 3
    _, stats = heads(*world())
    assert all(found.iou[found.background].max() < 0.3 for found in regions(stats) if found.background.any())


def test_what_a_threshold_matcher_says_besides_its_iou_is_kept():
    heads = built(CascadeRoIHeads, criterion=criterion(matcher=ThresholdMatcher(0.5, 0.4, True)))
    matchers = [one.matcher for one in heads.criterion]
    found = [(m.foreground, round(m.background, 6), m.best_for_each_object) for m in matchers]
    assert found == [(0.5, 0.4, True), (0.6, 0.5, True), (0.7, 0.6, True)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ious": [0.5, 0.6]}, "got 2 ious, 3 box_weights, 2 loss_weights"),
        ({"loss_weights": [1.0]}, "got 3 ious, 3 box_weights, 1 loss_weights"),
        ({"ious": [0.6, 0.7, 0.8]}, r"matcher.foreground is 0.5, the first of roi_heads.ious is 0.6"),
        ({"box_weights": [[1, 1, 1, 1]] * 3}, r"box_coder.weights are \(10.0, 10.0, 5.0, 5.0\)"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        built(CascadeRoIHeads, **settings)


class WithSpread(SmoothL1):
    """A regression that asks for values beside the deltas."""

    extra_values = 4

    def __call__(self, deltas, matched, box_coder):
        return super().__call__(deltas[:, :4], matched, box_coder)[0] + 0.1 * deltas[:, 4:].square().sum(dim=1), {}

    def deviations(self, extra, regions):
        return extra.exp()


class Halve(nn.Module):
    """A change of the features with a layer and a loss of its own."""

    def build(self, channels, size):
        self.layer = nn.Linear(channels, 1)

    def forward(self, features, matched, head):
        return features * 0.5, {"halved": torch.tensor(1.0)}

    def settle(self, losses, logits, matched):
        own = self.layer(torch.ones(1, self.layer.in_features)).square().sum()
        return {**losses, "loss_halve": own}, {}


def test_slots_act_in_every_stage():
    heads = built(
        CascadeRoIHeads,
        criterion=criterion(classification=SigmoidCrossEntropy(0.01), regression=WithSpread()),
        region_features=Halve(),
    )
    features, boxes, _, _, sizes = world()
    losses, stats = heads(*world())
    assert [name for name in losses if "halve" in name] == [f"loss_halve_stage{t}" for t in range(3)]
    assert [name for name in stats if "halved" in name] == ["roi/halved", "roi_stage1/halved", "roi_stage2/halved"]
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in heads.parameters())
    assert len({p.data_ptr() for p in heads.parameters()}) == len(list(heads.parameters())), "stages share a parameter"
    scores, refined = heads.predict(features, boxes, sizes)
    assert scores.shape == (2, 24, K) and refined.shape == (2, 24, 1, 8) and (refined[..., 4:] > 0).all()


def test_without_objects():
    losses, stats = built(CascadeRoIHeads)(*without_objects())
    assert all(torch.isfinite(v) for v in losses.values())
    assert all(losses[f"loss_box_reg_stage{t}"] == 0 for t in range(3))
    assert not any(found.foreground.any() for found in regions(stats))


def test_mechanism_proposals_improve_from_stage_to_stage(trained):
    """On pictures that it did not learn from: mean IoU of all regions, and the share above 0.7 (published for R-50:
    2.9 %, 17.3 %, 21.7 % of the proposals).
    """
    with torch.no_grad():
        _, stats = trained(*world(n=8, seed=503))
    means = [found.iou.mean().item() for found in regions(stats)]
    shares = [stats[f"roi{name}/above_0.7"].item() for name in ("", "_stage1", "_stage2")]
    assert means[0] + 0.05 < means[1] and means[1] + 0.01 < means[2]
    assert shares[0] + 0.1 < shares[1] and shares[1] + 0.05 < shares[2]
