"""Every slot of the second wave with a small filler of its own, end to end: two training steps and a detection.

Neutral fillers leave the losses as they are, bit for bit. Letters as in `imbdet/slots.py`.
"""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imbdet import testing
from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config
from imbdet.modeling.boxes import pairwise_iou
from imbdet.modeling.defaults import SigmoidCrossEntropy, SoftmaxCrossEntropy, ThresholdMatcher
from imbdet.modeling.heads import Cosine, Linear, ScaledLinear
from imbdet.slots import BoxForm, Calibration, Classification, Coupling, with_gradient
from tests.helpers import Waits

K = 10
DENSE, TWO = "baselines/retinanet_shapes", "baselines/faster_rcnn_shapes"
BOTH = pytest.mark.parametrize("baseline", [DENSE, TWO])
HEADS = [
    (DENSE, ()),
    (TWO, ()),
    *(
        pytest.param(baseline, (remedy,), marks=pytest.mark.slow)
        for baseline, remedy in ((TWO, "cascade_rcnn"), (TWO, "iou_uniform_rois"), (DENSE, "hierarchical_shot"))
    ),
]


@functools.cache
def config(baseline, remedies=()):
    widths = ["model.backbone.widths=[8, 8, 8, 8, 8]", "model.neck.channels=8"]
    widths += ["model.roi_heads.box_head.widths=[16, 16]"] if baseline == TWO else []
    cfg = load_config(baseline, list(remedies), widths)
    cfg.model.num_classes = K
    return cfg


def detector(baseline, put=lambda model: None, remedies=()):
    """A detector with few channels; `put` changes a copy of its config's model."""
    cfg = config(baseline, remedies).copy()
    put(cfg.model)
    torch.manual_seed(0)
    return instantiate(cfg.model).train()


def criteria(model):
    """Nodes or objects: that of the final boxes, then the RPN's."""
    return [model.roi_heads.criterion, model.rpn.criterion] if "FasterRCNN" in str(_kind(model)) else [model.criterion]


def _kind(model):
    return type(model) if isinstance(model, nn.Module) else model._target_


def two_steps(model, seed=0):
    """The losses of two steps of SGD; every step's gradients are finite."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    found = []
    for step in range(2):
        torch.manual_seed(step)
        losses, _ = model(*testing.batch(3, 0, size=64, seed=seed + step))
        sum(losses.values()).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        optimizer.step()
        optimizer.zero_grad()
        found.append({name: value.item() for name, value in losses.items()})
    with torch.no_grad():
        detections = model.eval()(testing.batch(2, size=64)[0])
    model.train()
    assert all(torch.isfinite(d["boxes"]).all() for d in detections)
    return found


@functools.cache
def plain_losses(baseline):
    return two_steps(detector(baseline))


# matcher ------------------------------------------------------------------------------------------------------------


class Places(ThresholdMatcher):
    """Thresholds, by a matcher that sees geometry and strides."""

    geometry = True
    strides = ()

    def build(self, strides):
        self.strides = strides

    def __call__(self, iou, valid, regions, levels, objects):
        n, m, a = iou.shape
        assert regions.shape == (n, a, 4) and levels.shape == (n, a) and objects.shape == (n, m, 4)
        assert len(self.strides) > int(levels.max())
        return super().__call__(iou, valid)


class Best(ThresholdMatcher):
    """Each object takes its `most` regions of the highest score times IoU of the predicted box; None: as before."""

    def __init__(self, most=None, **thresholds):
        super().__init__(**thresholds)
        self.most = most

    def rematch(self, matched, objects, logits, outputs, criterion):
        n, m = objects.valid.shape
        boxes, scores = criterion.boxes(outputs, matched.boxes), criterion.scores(logits)
        values, _ = criterion.values(logits, outputs, matched)
        assert not boxes.requires_grad and values[0].shape == values[1].shape == matched.labels.shape
        shape = matched.labels.view(n, -1).shape
        if self.most is None:  # what the first pass said, once more
            index = (matched.objects - matched.images * m).clamp(min=0).view(shape)
            kind = torch.where(matched.foreground, 1, torch.where(matched.background, 0, -1)).view(shape)
            return criterion.assign(matched, objects, index, matched.iou.view(shape), kind)
        scores, boxes = scores.view(n, -1, scores.shape[1]), boxes.view(n, -1, 4)
        own = scores.gather(2, objects.labels.unsqueeze(1).expand(-1, scores.shape[1], -1)).transpose(1, 2)
        iou = pairwise_iou(objects.boxes, boxes)
        rank = torch.where(objects.valid.unsqueeze(2), own * (iou + 1e-6), -1.0)  # (N, M, A)
        value, place = rank.topk(self.most, dim=2)
        claims = torch.zeros_like(rank).scatter(2, place, value.clamp(min=0))
        best, index = claims.max(dim=1)
        return criterion.assign(
            matched, objects, index, iou.gather(1, index.unsqueeze(1)).squeeze(1), (best > 0).long()
        )


def with_matcher(kind, dense=False, **settings):
    """Fill the matcher of all criteria, or of the dense one alone: RetinaNet's or the RPN's, the last."""

    def put(model):
        for criterion in criteria(model)[-1 if dense else 0 :]:
            thresholds = {k: v for k, v in criterion.matcher.items() if k != "_target_"}
            criterion.matcher = L(kind)(**thresholds, **settings)

    return put


@BOTH
def test_a_matcher_sees_geometry(baseline):
    assert two_steps(detector(baseline, with_matcher(Places))) == plain_losses(baseline)


@BOTH
def test_a_neutral_second_pass_changes_nothing(baseline):
    assert two_steps(detector(baseline, with_matcher(Best, dense=True))) == plain_losses(baseline)


@pytest.mark.parametrize("remedies", [(), ("cascade_rcnn",), ("iou_uniform_rois",)])
def test_roi_heads_refuse_a_second_pass(remedies):
    """They sample before they predict, so it would never be asked."""
    with pytest.raises(ValueError, match="Best looks at predictions, and RoI heads match once"):
        detector(TWO, with_matcher(Best), remedies)


def test_a_second_pass_matches_by_what_is_predicted():
    """Three objects in the first image and none in the second, so at most 3 * 5 foreground regions; nothing waits."""
    model = detector(DENSE, with_matcher(Best, most=5))
    with Waits() as waits:
        _, stats = model(*testing.batch(3, 0, size=64))
    matched = stats["regions"].matched
    assert not waits.found and 5 <= int(matched.foreground.sum()) <= 15
    assert set(matched.images[matched.foreground].tolist()) == {0}
    two_steps(model)


# classification -----------------------------------------------------------------------------------------------------


class ByLogit(SigmoidCrossEntropy):
    """A prior of its own for each logit."""

    def initial_bias(self, num_classes):
        return torch.linspace(-3, -1, num_classes)


@pytest.mark.parametrize(("baseline", "remedies"), HEADS)
def test_the_first_bias_may_be_one_number_for_each_logit(baseline, remedies):
    def put(model):
        last = model.second if "hierarchical_shot" in remedies else criteria(model)[0]
        last.classification = L(ByLogit)()

    model = detector(baseline, put, remedies)
    names = [name for name in model.state_dict() if name.endswith(("cls_score.bias", "steps.1.classify.0.bias"))]
    assert names
    for name in names:
        rows = model.state_dict()[name].view(-1, K)
        assert torch.equal(rows, torch.linspace(-3, -1, K).expand_as(rows))
    two_steps(model)


class Ranked(SoftmaxCrossEntropy, Classification):
    """Cross entropy whose gradient is written down: softmax minus truth."""

    def __call__(self, logits, matched):
        value, _ = super().__call__(logits, matched)
        truth = F.one_hot(matched.labels.clamp(min=0), logits.shape[1])
        return with_gradient(value, logits, logits.softmax(dim=1) - truth), {}


def test_a_gradient_worked_out_by_hand_trains_as_autograd_does():
    def put(model):
        model.roi_heads.criterion.classification = L(Ranked)()

    for ours, plain in zip(two_steps(detector(TWO, put)), plain_losses(TWO), strict=True):
        assert ours == pytest.approx(plain, rel=1e-4)


# classifier ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "remedies", [(), *(pytest.param((name,), marks=pytest.mark.slow) for name in ("cascade_rcnn", "iou_uniform_rois"))]
)
@pytest.mark.parametrize("kind", [Cosine, ScaledLinear])
def test_classifiers(kind, remedies):
    def put(model):
        model.roi_heads.classifier = L(kind)(_partial_=True)

    model = detector(TWO, put, remedies)
    layers = [layer for layer in model.modules() if isinstance(layer, kind)]
    assert len(layers) == (3 if remedies == ("cascade_rcnn",) else 1)
    names = set(model.state_dict()) - set(detector(TWO, remedies=remedies).state_dict())
    assert all(name.endswith("cls_score.scale") for name in names) and len(names) == len(layers) * (
        kind is ScaledLinear
    )
    two_steps(model)


def test_a_scaled_classifier_starts_as_a_linear_one():
    def put(model):
        model.roi_heads.classifier = L(ScaledLinear)(_partial_=True)

    assert two_steps(detector(TWO, put))[0] == plain_losses(TWO)[0]


def test_cosine_by_hand():
    """tau 20, x = (3, 4), w = (1, 0): 20 * 0.6 = 12, whatever the length of either."""
    layer = Cosine(2, 2)
    layer.start(0.0)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 5.0]]))
    assert layer(torch.tensor([[3.0, 4.0]])).tolist() == [[pytest.approx(12.0), pytest.approx(16.0)]]
    assert torch.isfinite(layer(torch.zeros(1, 2))).all() and isinstance(layer, Linear)
    with pytest.raises(ValueError, match="tau must be positive"):
        Cosine(2, 2, tau=0.0)


# box form -----------------------------------------------------------------------------------------------------------


class Sides(BoxForm):
    """Each side lies between half and one and a half of the region's, by the mean of a distribution over three bins."""

    num_values = 12

    def boxes(self, outputs, regions, box_coder):
        share = outputs[..., :12].unflatten(-1, (4, 3)).softmax(dim=-1) @ outputs.new_tensor([0.25, 0.5, 0.75])
        center, size = (regions[..., :2] + regions[..., 2:]) / 2, regions[..., 2:] - regions[..., :2]
        return torch.cat((center - share[..., :2] * size, center + share[..., 2:] * size), dim=-1)

    def __call__(self, outputs, matched, box_coder):
        return (self.boxes(outputs, matched.boxes, box_coder) - matched.targets).abs().sum(dim=1) / 10, {}


@pytest.mark.parametrize(("baseline", "remedies"), HEADS[:4])
def test_a_box_form(baseline, remedies):
    def put(model):
        for criterion in criteria(model):
            criterion.regression = L(Sides)()

    model = detector(baseline, put, remedies)
    torch.manual_seed(0)
    _, stats = model(*testing.batch(3, 1, size=64))
    seen = stats["regions"] if baseline == DENSE else stats["roi/regions"]
    moved = seen.decoded()[seen.matched.foreground]
    assert seen.deltas.shape == (len(seen.matched), 4) and torch.isfinite(moved).all()
    two_steps(model)


def test_a_box_form_without_a_step_is_the_region():
    regions = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    coder = instantiate(config(TWO).model.rpn.criterion.box_coder)
    assert torch.equal(Sides().boxes(torch.zeros(1, 12), regions, coder), regions)
    assert torch.allclose(Sides().deltas(torch.zeros(1, 12), regions, coder), torch.zeros(1, 4))


# coupling -----------------------------------------------------------------------------------------------------------


class ByScore(Coupling):
    """The box loss of each positive times its score, to which a gradient goes, too (as CARL)."""

    def __init__(self, weight=1.0):
        self.weight = weight

    def __call__(self, logits, outputs, values, matched):
        assert values[1].requires_grad and logits.requires_grad and outputs.shape[0] == len(matched)
        own = logits.gather(1, matched.labels.clamp(0, logits.shape[1] - 1).unsqueeze(1)).squeeze(1).sigmoid()
        loss = (own * values[1]).sum() / matched.foreground.sum().clamp(min=1)
        return {"loss_coupled": self.weight * loss}, {"coupled/score": own.detach().mean()}


@BOTH
def test_a_coupling_adds_a_loss_with_gradient_to_both(baseline):
    def put(model):
        criteria(model)[0].coupling = L(ByScore)(weight=1.0)

    model = detector(baseline, put)
    losses, stats = model(*testing.batch(3, 1, size=64))
    losses["loss_coupled"].backward()
    reached = {name.rsplit(".", 2)[-2] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {"cls_score", "bbox_pred"} <= reached and any(name.endswith("coupled/score") for name in stats)
    first = two_steps(detector(baseline, put))[0]
    first.pop("loss_coupled")
    assert first == plain_losses(baseline)[0]


# calibration --------------------------------------------------------------------------------------------------------


class Identity(Calibration):
    """Leaves all as it is and keeps what it was given."""

    def __init__(self):
        self.given = []

    def __call__(self, scores, background):
        self.given.append((scores, background))
        return scores


class Shifted(Identity):
    """Only the second class stands a chance."""

    def logits(self, logits):
        return logits.index_fill(-1, torch.tensor([0]), -50.0)


@pytest.mark.parametrize(("baseline", "remedies"), HEADS)
def test_a_calibration_sees_scores_and_background_in_every_head(baseline, remedies):
    model = detector(baseline, remedies=remedies).eval()
    model.score_threshold = 0.0
    images, _ = testing.batch(2, 1, size=64)
    with torch.no_grad():
        plain = model(images)
        model.calibration = Identity()
        same = model(images)
        given = model.calibration.given
        model.calibration = Shifted()
        model(images)
    assert all(torch.equal(a[key], b[key]) for a, b in zip(plain, same, strict=True) for key in a)
    assert given and all(scores.shape[-1] == K for scores, _ in given)
    for scores, background in given:
        if baseline == DENSE and not remedies:
            assert background is None, "each class is scored by itself"
        else:
            assert torch.allclose(scores.sum(dim=-1) + background, torch.ones_like(background), atol=1e-5)
    assert all(scores[..., 0].max() < 1e-6 < scores[..., 1].max() for scores, _ in model.calibration.given)
