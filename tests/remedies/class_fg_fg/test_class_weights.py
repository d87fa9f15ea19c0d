"""Class weights: neutral, numbers by hand, scikit-learn's and torch's own, wrong input, share of the gradient."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from imbdet.config import instantiate, load_config
from imbdet.engine.summary import describe_run
from imbdet.modeling.defaults import SigmoidCrossEntropy, SoftmaxCrossEntropy
from imbdet.remedies.class_fg_fg.class_weights import ByName, ClassWeights, InversePower
from imbdet.slots import Slot
from tests.helpers import K, criterion, regions

NAMES = ["circle", "star", "ring"]
COUNTS = [900, 90, 10]


def weigh(module, labels):
    """The weights of the two losses of regions with these labels."""
    m = regions(labels)
    return module(torch.rand(len(m)), torch.rand(len(m)), m)[0]


@pytest.mark.parametrize("classification", [SoftmaxCrossEntropy(), SigmoidCrossEntropy()])
def test_neutral_is_the_baseline(classification):
    m = regions([0, 3, 2, 3, 1, -1])
    logits, deltas = torch.randn(6, classification.num_logits(K)), torch.randn(6, 4)
    neutral = ClassWeights(COUNTS, NAMES, InversePower(power=0))
    plain = criterion(classification)(logits, deltas, m)[0]
    weighted = criterion(classification, weighting=neutral)(logits, deltas, m)[0]
    assert all(torch.equal(plain[name], weighted[name]) for name in plain)


def test_by_hand():
    """power 1/2, boxes 900, 90, 10: v = 1/30, 0.1054, 0.3162; sum n v = 30 + 9.487 + 3.162 = 42.65;
    w = 1000 v / 42.65 = 0.7816, 2.472, 7.415. Background and ignored regions keep 1, and so does the regression.
    """
    cls, reg = weigh(ClassWeights(COUNTS, NAMES, InversePower(0.5)), [0, 1, 2, 3, -1])
    assert cls.tolist() == pytest.approx([0.7816, 2.4716, 7.4148, 1, 1], rel=1e-4)
    assert torch.equal(reg, torch.ones(5))


def test_a_naive_loop():
    module = ClassWeights(COUNTS, NAMES, InversePower(0.7), mean_over_boxes=False)
    total = sum(n**-0.7 for n in COUNTS)
    want = [3 * n**-0.7 / total for n in COUNTS]
    for label, weight in enumerate(want):
        assert weigh(module, [label])[0].item() == pytest.approx(weight, rel=1e-6)


def test_inverse_equals_scikit_learns_balanced():
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    y = [label for label, count in enumerate(COUNTS) for _ in range(count)]
    want = sklearn.compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert ClassWeights(COUNTS, NAMES, InversePower(1)).table[:3].tolist() == pytest.approx(want.tolist())


def test_under_softmax_it_is_torchs_weighted_cross_entropy():
    module = ClassWeights(COUNTS, NAMES, InversePower(0.5))
    m, logits = regions([0, 3, 2, 1]), torch.randn(4, K + 1)
    want = F.cross_entropy(logits, m.labels, weight=module.table, reduction="sum")
    losses, _ = criterion(weighting=module)(logits, torch.zeros(4, 4), m)
    assert (losses["loss_cls"] * 4).item() == pytest.approx(want.item(), rel=1e-6)


@pytest.mark.parametrize("over_boxes", [True, False])
def test_the_mean_is_1(over_boxes):
    table = ClassWeights(COUNTS, NAMES, InversePower(1), over_boxes).table[:3]
    n = torch.tensor(COUNTS) / sum(COUNTS) if over_boxes else torch.full((3,), 1 / 3)
    assert (n * table).sum().item() == pytest.approx(1)


@pytest.mark.parametrize("over_boxes", [True, False])
def test_a_class_without_boxes_takes_no_part(over_boxes):
    table = ClassWeights([90, 0, 10], NAMES, InversePower(1), over_boxes).table
    assert torch.equal(table[[0, 2]], ClassWeights([90, 10], NAMES[:2], InversePower(1), over_boxes).table[:2])
    assert table[1] == 1 and ClassWeights([0, 0, 0], NAMES, InversePower(1)).table.tolist() == [1, 1, 1, 1]


def test_no_object_at_all():
    module, m = ClassWeights(COUNTS, NAMES, InversePower(1)), regions([3, 3, -1])
    (cls, _), stats = module(torch.ones(3), torch.zeros(3), m)
    assert torch.equal(cls, torch.ones(3)) and stats["class_weights/foreground_mean"] == 0


@pytest.mark.parametrize("classification", [SoftmaxCrossEntropy(), SigmoidCrossEntropy()])
def test_mechanism_every_class_has_the_same_share_of_the_gradient(classification):
    """90, 9 and 1 regions with equal logits: without weights the gradient is shared 90:9:1, by inverse frequency 1:1:1,
    by its square root as the roots of the counts, about 9.5:3:1.
    """
    counts = [90, 9, 1]
    m = regions([label for label, n in enumerate(counts) for _ in range(n)])
    logits = torch.zeros(100, classification.num_logits(K), requires_grad=True)
    for power, want in ((0.0, counts), (0.5, [n**0.5 for n in counts]), (1.0, [1, 1, 1])):
        weighting = ClassWeights(counts, NAMES, InversePower(power))
        loss = criterion(classification, weighting=weighting)(logits, torch.zeros(100, 4), m)[0]["loss_cls"]
        (gradient,) = torch.autograd.grad(loss, logits)
        share = torch.stack([gradient[m.labels == c].abs().sum() for c in range(3)])
        assert (share / share.sum()).tolist() == pytest.approx([w / sum(want) for w in want], rel=1e-4)


def test_by_name():
    table = ClassWeights([10, 10, 10], NAMES, ByName({"star": 4})).table
    assert table.tolist() == pytest.approx([0.5, 2, 0.5, 1])  # 1, 4, 1 divided by their mean 2
    assert torch.equal(table, ClassWeights([10, 10, 10], NAMES, ByName([1, 4, 1])).table)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (ByName({"stat": 2}), "no class 'stat'.*did you mean 'star'"),
        (ByName([1, 2]), "2 class weights for 3 classes: circle, star, ring"),
        (ByName([0, 0, 0]), "not all 0"),
    ],
)
def test_wrong_weights_are_named(rule, message):
    with pytest.raises(ValueError, match=message):
        ClassWeights(COUNTS, NAMES, rule)


def test_wrong_settings():
    for make in (lambda: InversePower(1.5), lambda: ByName({"star": -1}), lambda: ByName([float("nan")] * 3)):
        with pytest.raises(ValueError, match="power|weights must be"):
            make()
    with pytest.raises(ValueError, match="2 counts for 3 class names"):
        ClassWeights([1, 2], NAMES, InversePower())


@pytest.mark.parametrize("base", ["baselines/retinanet_shapes", "baselines/faster_rcnn_shapes"])
def test_config_takes_counts_and_names_from_the_data(base):
    cfg = load_config(base, ["class_weights"], ["data.train.num_images=40"])
    model = instantiate(cfg.model)
    weighting = (getattr(model, "criterion", None) or model.roi_heads.criterion).weighting
    counts = torch.tensor(instantiate(cfg.data.train).class_counts()).clamp(min=1)
    assert len(weighting.table) == len(counts) + 1 and weighting.table[:-1].argmax() == counts.argmin()
    told = [part.describe() for part in model.modules() if isinstance(part, Slot) and part.describe()]
    assert len(told) == 1 and "boxes^-0.5" in told[0] and "circle" in told[0]
    assert not any("table" in name for name in model.state_dict())


def test_the_run_says_the_weights_before_it_starts():
    cfg = load_config("baselines/retinanet_shapes", ["class_weights"], ["data.train.num_images=40"])
    model = instantiate(cfg.model)
    settings = SimpleNamespace(max_iter=1, accumulate=1, eval_period=0, best_metric="AP", seed=0)
    settings.amp = SimpleNamespace(enabled=False)
    world, parameters = SimpleNamespace(size=1), list(model.parameters())
    common = {"world": world, "device": torch.device("cpu"), "has_val": False, "train_loader": None}
    common["adversaries"] = SimpleNamespace(parameters=[])
    lines = []
    describe_run(SimpleNamespace(settings=settings, model=model, parameters=parameters, **common), lines.append)
    assert any(line.startswith("criterion.weighting: class weights by boxes^-0.5, mean over train") for line in lines)


def test_by_name_in_a_config():
    rule = "{_target_: imbdet.remedies.class_fg_fg.class_weights.ByName, weights: {star: 3}}"
    words = ["data.train.num_images=40", f"model.criterion.weighting.rule={rule}"]
    cfg = load_config("baselines/retinanet_shapes", ["class_weights"], words)
    table = instantiate(cfg.model.criterion.weighting).table
    assert (table[:-1] == table[:-1].max()).sum() == 1 and table[:-1].max() / table[:-1].min() == pytest.approx(3)
