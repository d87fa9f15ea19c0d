"""IoU-uniform R-CNN: the neutral setting, losses in a naive loop, gradients of the branches, scores at test, what the
engine asks of it, and its parts one by one. Its generator of boxes has tests of its own.
"""

import itertools

import pytest
import torch
from scipy import stats
from torch import nn

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.modeling.boxes import BoxCoder, paired_iou, pairwise_iou
from imbdet.modeling.defaults import SmoothL1
from imbdet.modeling.roi_heads import RoIHeads
from imbdet.remedies.spatial_iou._box_generator import UniformBoxes, owned
from imbdet.remedies.spatial_iou.iou_uniform_rois import IoUBinWeights, IoUPrediction, IoUUniformRoIHeads
from tests.remedies.engine_checks import check_resume, check_two_processes
from tests.remedies.spatial_iou.inside import (
    KINDS,
    check_in_either_order,
    check_trains_and_detects,
    count_operators,
    detector,
    remedies_of_roi_slots,
)
from tests.remedies.spatial_iou.scenes import SIZE, K, built, objects_of, uniformity, without_objects, world

NEUTRAL = {"generator": None, "iou_branch": False, "separate_head": False}


def heads(seed=0, **settings):
    return built(IoUUniformRoIHeads, seed, **{"generator": UniformBoxes(), "per_image": 40, **settings})


def test_neutral_equals_the_roi_head():
    """With the same weights every loss, gradient, score and box is the same to the last bit."""
    ours, theirs = heads(**NEUTRAL, score_threshold=0.0), built(RoIHeads, class_agnostic=True)
    rename = {"branch_predictor.bbox_pred": "box_predictor.bbox_pred"}
    names = {name: rename.get(name.rpartition(".")[0], name.rpartition(".")[0]) for name in ours.state_dict()}
    names = {name: f"{new}.{name.rpartition('.')[2]}" for name, new in names.items()}
    assert set(names.values()) == set(theirs.state_dict())
    ours.load_state_dict({name: theirs.state_dict()[other] for name, other in names.items()})
    features, *rest = world()
    maps = [{"p2": features["p2"].clone().requires_grad_()} for _ in range(2)]
    losses, _ = ours(maps[0], *rest)
    expected, _ = theirs(maps[1], *rest)
    assert {k: v.item() for k, v in losses.items()} == {k: v.item() for k, v in expected.items()}
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    other = dict(theirs.named_parameters())
    assert torch.equal(maps[0]["p2"].grad, maps[1]["p2"].grad)
    assert all(torch.equal(p.grad, other[names[name]].grad) for name, p in ours.named_parameters())
    boxes, sizes = rest[0], rest[-1]
    for a, b in zip(ours.predict(features, boxes, sizes), theirs.predict(features, boxes, sizes), strict=True):
        assert torch.equal(a, b)


def test_losses_against_a_naive_loop():
    """Box by box that was generated: means of w(u) |deltas - wanted| / 4 and of smooth L1 of the IoU."""
    model = heads()
    nn.init.normal_(model.branch_predictor.bbox_pred.weight, std=0.1)
    features, boxes, valid, objects, sizes = world()
    losses, found = model(features, boxes, valid, objects, sizes)
    matched = found["roi_generated/regions"].matched
    with torch.no_grad():
        iou, deltas = model.branch.head(model.pooler(features, matched.boxes, matched.images))
    coder, l1, smooth, count = BoxCoder((10, 10, 5, 5)), 0.0, 0.0, 0
    for r in range(len(matched)):
        if matched.labels[r] < 0:
            continue
        target = objects.boxes.view(-1, 4)[matched.objects[r]]
        u = paired_iou(matched.boxes[r], target).item()
        weight = 1 if u < 0.6 else 1.5 if u < 0.7 else 2 if u < 0.8 else 3
        l1 += weight * (deltas[r, 0] - coder.encode(matched.boxes[r], target)).abs().sum().item() / 4
        error = abs(iou[r].item() - u)
        smooth += error**2 if error < 0.5 else error - 0.25
        count += 1
    assert count > 60
    assert losses["loss_box_reg"].item() == pytest.approx(l1 / count, rel=1e-4)
    assert losses["loss_iou"].item() == pytest.approx(smooth / count, rel=1e-4)
    assert set(losses) == {"loss_cls", "loss_box_reg", "loss_iou"}


def test_bin_weights_by_hand():
    """0.55, 0.65, 0.75, 0.85, 0.95 -> 1, 1.5, 2, 3, 3; a limit belongs to the bin above it."""
    iou = torch.tensor([0.55, 0.65, 0.75, 0.85, 0.95, 0.6, 0.3])
    zeros, matched = torch.zeros(7), testing.regions([0] * 7, num_classes=1, iou=iou)
    (w_iou, w_reg), _ = IoUBinWeights([1, 1.5, 2, 3])(zeros, zeros, matched)
    assert w_reg.tolist() == [1, 1.5, 2, 3, 3, 1.5, 1] and (w_iou == 1).all()


def test_bin_weights_balance_the_gradient_of_smooth_l1_not_of_l1():
    """Uniform boxes whose deltas are still 0: the mean gradient of the bins from 0.5, 0.6, 0.7, 0.8 times their weights
    is about even with smooth L1 of beta 1; with L1 it is 1, 1.5, 2, 3.
    """
    torch.manual_seed(0)
    objects, sizes = objects_of(torch.tensor([[[300.0, 300, 400, 380]]]))
    boxes, _, _ = UniformBoxes(per_object=4000)(objects, sizes, 4000)
    boxes, target = boxes[0], objects.boxes[0].expand(4000, 4)
    iou, zeros = paired_iou(boxes, target), torch.zeros(4000)
    matched = testing.regions([0] * 4000, num_classes=1, boxes=boxes, targets=target)
    (_, weights), _ = IoUBinWeights([1, 1.5, 2, 3])(zeros, zeros, matched)
    means = {}
    for beta in (0.0, 1.0):
        deltas = torch.zeros(4000, 4, requires_grad=True)
        (SmoothL1(beta)(deltas, matched, BoxCoder((10, 10, 5, 5)))[0] * weights).sum().backward()
        size = deltas.grad.abs().mean(dim=1)
        bins = [(iou >= low) & (iou < low + 0.1) for low in (0.5, 0.6, 0.7, 0.8)]
        means[beta] = [size[inside].mean().item() for inside in bins]
    assert means[0.0] == pytest.approx([1, 1.5, 2, 3], rel=0.02)
    assert max(means[1.0]) < 1.5 * min(means[1.0])


def test_generated_boxes_learn_by_smooth_l1_unless_a_remedy_fills_the_slot():
    def regression(*remedies):
        cfg = load_config("baselines/faster_rcnn_shapes", list(remedies))
        cfg.model.num_classes = K
        return instantiate(cfg.model).roi_heads.branch_criterion.regression

    assert regression("iou_uniform_rois").beta == 1.0
    for order in (("iou_uniform_rois", "giou_loss"), ("giou_loss", "iou_uniform_rois")):
        assert type(regression(*order)).__name__ == "GIoULoss"


def test_smooth_l1_of_the_iou_by_hand():
    """beta 0.5: 0.2^2 / 1 = 0.04 and 0.8 - 0.25 = 0.55; scores are cut to 0..1."""
    matched = testing.regions([0, 0], num_classes=1, iou=[0.7, 0.9])
    values, _ = IoUPrediction()(torch.tensor([[0.5], [0.1]]), matched)
    assert values.tolist() == pytest.approx([0.04, 0.55], abs=1e-6)
    assert IoUPrediction().scores(torch.tensor([[-0.2], [0.4], [1.3]])).view(-1).tolist() == pytest.approx([0, 0.4, 1])


@pytest.mark.parametrize("loss", ["loss_cls", "loss_box_reg", "loss_iou"])
def test_each_loss_teaches_its_own_branch(loss):
    model = heads()
    features, *rest = world()
    losses, _ = model({"p2": features["p2"].requires_grad_()}, *rest)
    losses[loss].backward()
    taught = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    branch = {"branch_head", "branch_predictor"}
    assert taught == ({"box_head", "box_predictor"} if loss == "loss_cls" else branch)
    assert features["p2"].grad.any()


@pytest.mark.parametrize("generator", [None, UniformBoxes()])
def test_deltas_of_the_rpns_regions_teach_nothing_where_boxes_are_generated(generator):
    """Whatever a remedy in a slot of the classification makes of them."""
    logits, deltas = heads(generator=generator).stage.head(torch.randn(2, K, 7, 7))
    assert logits.requires_grad and deltas.requires_grad == (generator is None)


def test_at_rest_no_branch_learns():
    """What an adversary on the features asks of a stage (`Stage.fixed`): gradients for the features alone."""
    model = heads(generator=None)
    pooled = torch.randn(2, K, 7, 7, requires_grad=True)
    logits, deltas = model.stage.fixed(pooled)
    (logits.sum() + deltas.sum()).backward()
    assert pooled.grad.any() and all(p.grad is None and p.requires_grad for p in model.parameters())


def test_generated_boxes_belong_to_the_object_that_they_overlap_most():
    """Two objects that share most of their area: boxes of one that overlap the other more are left out."""
    torch.manual_seed(0)
    objects, sizes = objects_of(torch.tensor([[[100.0, 100, 200, 200], [110, 100, 210, 200], [400, 300, 450, 350]]]))
    model = heads(per_image=90)
    matched = model.generate(objects, sizes)
    _, owner, _ = model.generator(objects, sizes, 90)
    overlaps = pairwise_iou(objects.boxes[0], matched.boxes)
    kept = matched.foreground
    assert (overlaps.argmax(dim=0) == matched.objects)[kept].all()
    assert torch.allclose(overlaps.amax(dim=0), matched.iou, atol=1e-6) and 30 < kept.sum() < 90
    assert torch.bincount(matched.objects[kept])[2] == torch.bincount(owner[0])[2], "the third is alone"


def pooled_at(model, features, boxes):
    iou, _ = model.branch.head(model.pooler(features, boxes, torch.zeros(len(boxes), dtype=torch.long)))
    return iou[:, 0].clamp(0, 1)


def test_score_is_class_score_times_iou_at_the_regressed_box():
    """The threshold is for the class score; the IoU is that of features pooled at the new box, cut at the border."""
    model = heads(score_threshold=0.3)
    for layer in (model.branch_predictor.bbox_pred, model.branch_predictor.iou_pred, model.box_predictor.cls_score):
        nn.init.normal_(layer.weight, std=0.5)
    nn.init.constant_(model.branch_predictor.bbox_pred.bias, 8.0)  # many boxes leave the image
    features, boxes, _, _, sizes = world(n=1, p=30)
    plain, refined = RoIHeads.predict(model, features, boxes, sizes)
    scores, new = model.predict(features, boxes, sizes)
    assert torch.equal(new, refined)
    iou = pooled_at(model, features, refined[0, :, 0].clamp(0, SIZE))
    want = torch.where(plain[0] > 0.3, plain[0] * iou.unsqueeze(1), 0.0)
    assert torch.allclose(scores[0], want, atol=1e-6)
    assert ((scores > 0) & (scores < 0.3)).any() and (scores == 0).any()
    assert not torch.allclose(iou, pooled_at(model, features, boxes[0]), atol=1e-2)


def test_a_detection_whose_product_is_below_the_threshold_is_kept():
    """The detector's threshold is the baseline's, and the heads have applied it to the class score."""
    cfg = load_config("baselines/faster_rcnn_shapes", ["iou_uniform_rois"], ["model.score_threshold=0.3"])
    cfg.model.num_classes = 2
    torch.manual_seed(0)
    model = instantiate(cfg.model).eval()
    assert model.roi_heads.score_threshold == 0.3
    nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.5)
    nn.init.constant_(model.roi_heads.branch_predictor.iou_pred.bias, 0.5)
    with torch.no_grad():
        found = model([torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)])[0]["scores"]
    assert len(found) and 0 < found.min() < 0.25


def test_a_moved_box_changes_the_iou_and_not_the_class():
    model = heads(score_threshold=0.0)
    nn.init.normal_(model.branch_predictor.iou_pred.weight, std=0.5)
    features, boxes, _, _, sizes = world(n=1)
    plain, _ = RoIHeads.predict(model, features, boxes, sizes)
    before, _ = model.predict(features, boxes, sizes)
    nn.init.constant_(model.branch_predictor.bbox_pred.bias, 3.0)
    same, _ = RoIHeads.predict(model, features, boxes, sizes)
    after, _ = model.predict(features, boxes, sizes)
    assert torch.equal(plain, same) and not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize(
    ("generator", "iou", "separate"), list(itertools.product([None, UniformBoxes()], *[[False, True]] * 2))
)
def test_its_parts_one_by_one(generator, iou, separate):
    """Each can be taken away; every parameter learns, and the losses are those of the parts that are there."""
    model = heads(generator=generator, iou_branch=iou, separate_head=separate)
    features, boxes, valid, objects, sizes = world()
    losses, found = model(features, boxes, valid, objects, sizes)
    assert set(losses) == {"loss_cls", "loss_box_reg"} | ({"loss_iou"} if iou else set())
    assert ("roi_generated/regions" in found) == (generator is not None)
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    assert (model.branch.box_head is model.box_head) != separate
    scores, refined = model.predict(features, boxes, sizes)
    assert scores.shape == (2, 24, K) and refined.shape == (2, 24, 1, 4)


def test_without_objects():
    losses, _ = heads()(*without_objects())
    assert losses["loss_box_reg"] == 0 and losses["loss_iou"] == 0 and torch.isfinite(losses["loss_cls"])


def test_mechanism_of_the_head():
    """Regression learns from IoU that are spread evenly where the RPN's foreground is not; after 80 steps, 2 seconds,
    the predicted IoU follows the true one on pictures that it did not learn from.
    """
    model = heads(widths=[64])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(80):
        losses, _ = model(*world(seed=step + 1))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    with torch.no_grad():
        features, boxes, valid, objects, sizes = world(n=8, seed=500)
        _, found = model(features, boxes, valid, objects, sizes)
        matched = {name: found[f"{name}/regions"].matched for name in ("roi", "roi_generated")}
        generated, owner, _ = UniformBoxes()(objects, sizes, 64)
        predicted = [pooled_at(model, {"p2": m[None]}, b) for m, b in zip(features["p2"], generated, strict=True)]
    iou = {name: one.iou[one.foreground].double().numpy() for name, one in matched.items()}
    assert min(uniformity(iou["roi_generated"])) > 0.01 and max(uniformity(iou["roi"])) < 1e-3
    true = paired_iou(generated, owned(objects, owner))
    assert stats.spearmanr(torch.cat(predicted), true.view(-1)).statistic > 0.4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IoUBinWeights([1, 2]), r"bin_weights are four.*got \[1, 2\]"),
        (lambda: IoUPrediction(0), "beta must be positive, got 0"),
        (lambda: heads(per_image=5000), r"must be 1\.\.4096, got 5000"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- whole detectors


@pytest.fixture(scope="module")
def model():
    return detector("iou_uniform_rois")


@pytest.mark.parametrize(("kind", "half"), KINDS)
def test_any_number_and_size_of_objects_trains(model, kind, half):
    losses = check_trains_and_detects(model, kind, half)
    if kind == (0, 0):
        assert losses["loss_iou"] == 0


def test_operators_and_waits_do_not_grow_with_the_images(model):
    assert max(count.synchronizations for count in count_operators(model)) <= 40


def test_neutral_detector_equals_faster_rcnn():
    """Through the config, in training and in eval, where the heads apply the detector's threshold."""
    words = [f"model.roi_heads.{key}={'null' if value is None else 'false'}" for key, value in NEUTRAL.items()]
    ours = detector("iou_uniform_rois", words=words)
    theirs = detector(words=["model.roi_heads.class_agnostic=true"])
    state = {name.replace("branch_predictor.bbox", "box_predictor.bbox"): v for name, v in ours.state_dict().items()}
    theirs.load_state_dict(state)
    batch, results = testing.batch(2, 0, size=64), []
    for one in (ours, theirs):
        torch.manual_seed(1)
        losses, _ = one.train()(*batch)
        with torch.no_grad():
            found = one.eval()(batch[0])
        results.append(([v.item() for v in losses.values()], [v for d in found for v in d.values()]))
    assert results[0][0] == results[1][0] and len(results[0][1][1]) > 0
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


@pytest.mark.slow
def test_resume(tmp_path, monkeypatch):
    check_resume(tmp_path, "iou_uniform_rois", monkeypatch)


@pytest.mark.slow
def test_two_processes(tmp_path):
    check_two_processes(tmp_path, "iou_uniform_rois")


#: remedy of an RoI slot -> why it cannot be inside of these heads
EXCEPTIONS: dict[str, str] = {}


@pytest.mark.slow  # of such pairs the quick run tries those that test_pairs draws
@pytest.mark.parametrize("name", remedies_of_roi_slots())
def test_every_remedy_of_an_roi_slot(name):
    if name in EXCEPTIONS:
        pytest.skip(EXCEPTIONS[name])
    check_in_either_order(name, "iou_uniform_rois", before=["cls_score.bias", "bbox_pred.bias"])


def test_exceptions_are_about_remedies_that_exist():
    assert all(name in remedies_of_roi_slots() and reason for name, reason in EXCEPTIONS.items())
