"""What each slot promises (`imbdet/slots.py`), checked on whatever fills it: defaults and remedies, in every detector.

Letters: R regions, K classes, C logits, N images, M objects.
"""

import copy
import functools
from itertools import islice

import numpy as np
import pytest
import torch

from imbdet import testing
from imbdet.config import instantiate, load_config, select, shipped_configs, slots_of
from imbdet.data.loader import Draw
from imbdet.modeling.defaults import SigmoidCrossEntropy, SoftmaxCrossEntropy
from imbdet.remedies import index
from tests.helpers import Waits

K, R = 10, 64
SHAPES = [name for name in shipped_configs("baselines") if name.endswith("_shapes")]


@functools.cache
def load(baseline, remedy):
    """The config on 12 training images; shared, so only to be read."""
    return load_config(baseline, [remedy] if remedy else [], ["data.train.num_images=12"])


@functools.cache
def there(baseline):
    """{slot: what fills it} of a baseline."""
    return {slot: filler for slot, (_, filler) in slots_of(load(baseline, "")).items()}


def filled(slot):
    """(remedy, baseline) of every filler of `slot`, for parametrize; the remedy of a baseline's own filler is ""."""
    own = {name: there(name).get(slot, "(default)") for name in SHAPES}
    pairs = [("", name) for name, filler in own.items() if filler != "(default)"]
    pairs += [
        (entry.name, baseline)
        for entry in index.entries()
        if slot in entry.slots
        for baseline in SHAPES
        if entry.fits(baseline, there(baseline))
    ]
    return pytest.mark.parametrize(("remedy", "baseline"), pairs)


def build(slot, remedy, baseline):
    """The object that fills `slot`, and the config."""
    cfg = load(baseline, remedy)
    return instantiate(select(cfg, slots_of(cfg)[slot][0])), cfg


def regions(kind="mixed", seed=0):
    """R matched regions of 2 images: some foreground of every class, some ignored, the rest background."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, K, (R,), generator=rng)
    labels[torch.rand(R, generator=rng) < 0.5] = K
    labels[torch.rand(R, generator=rng) < 0.1] = -1
    if kind == "no objects":
        labels = torch.where(labels == -1, -1, K)
    foreground = (labels >= 0) & (labels < K)
    return testing.regions(
        labels,
        K,
        num_images=2,
        boxes=testing.random_boxes(R, seed),
        iou=torch.where(foreground, 0.5 + 0.5 * torch.rand(R, generator=rng), 0.4 * torch.rand(R, generator=rng)),
        objects=torch.where(foreground, torch.randint(0, 6, (R,), generator=rng), 0 if kind == "mixed" else -1),
        levels=torch.arange(R) % 3,
        deltas=torch.where(foreground[:, None], torch.randn(R, 4, generator=rng) * 0.1, 0.0),
    )


def check_values(values, inputs, stats):
    """(R,) finite values with finite gradients, and detached stats."""
    assert values.shape == (R,) and torch.isfinite(values).all()
    values.sum().backward()
    assert inputs.grad is not None and torch.isfinite(inputs.grad).all()
    assert not any(torch.is_tensor(stat) and stat.requires_grad for stat in stats.values())


@filled("classification")
@pytest.mark.parametrize(("kind", "scale"), [("mixed", 1.0), ("mixed", 30.0), ("no objects", 1.0)])
def test_classification(remedy, baseline, kind, scale):
    made, _ = build("classification", remedy, baseline)
    width, matched = made.num_logits(K), regions(kind)
    assert isinstance(width, int) and width >= K
    bias = torch.as_tensor(made.initial_bias(K))
    assert torch.isfinite(bias).all() and bias.shape in ((), (width,))
    logits = (scale * torch.randn(R, width, generator=torch.Generator().manual_seed(1))).requires_grad_()
    with Waits() as waits:
        values, stats = made(logits, matched)
    assert not waits.found, f"waits for the device: {waits.found}"
    check_values(values.where(matched.considered, 0.0), logits, stats)
    scores = made.scores(logits.detach())
    assert scores.shape == (R, K) and 0 <= scores.min() and scores.max() <= 1
    background = made.background(logits.detach())
    assert background is None or torch.allclose(scores.sum(dim=1) + background, torch.ones(R), atol=1e-5)
    assert made.normalizer is None or callable(made.normalizer)


@filled("regression")
@pytest.mark.parametrize("kind", ["mixed", "no objects"])
def test_regression(remedy, baseline, kind):
    made, cfg = build("regression", remedy, baseline)
    key = slots_of(cfg)["regression"][0].replace("regression", "box_coder")
    coder, matched = instantiate(select(cfg, key)), regions(kind)
    values = 0.3 * torch.randn(R, made.num_values + made.extra_values)
    deltas = torch.where(matched.foreground[:, None], values, 0.0).requires_grad_()
    with Waits() as waits:
        values, stats = made(deltas, matched, coder)
    assert not waits.found, f"waits for the device: {waits.found}"
    check_values(values.where(matched.foreground, 0.0), deltas, stats)


@filled("weighting")
@pytest.mark.parametrize("kind", ["mixed", "no objects"])
def test_weighting(remedy, baseline, kind):
    made, _ = build("weighting", remedy, baseline)
    matched = regions(kind)
    with Waits() as waits:
        weights, _ = made(torch.rand(R) * matched.considered, torch.rand(R) * matched.foreground, matched)
    assert not waits.found, f"waits for the device: {waits.found}"
    for weight in weights:
        assert weight.shape == (R,) and torch.isfinite(weight).all() and weight.min() >= 0
        assert not weight.requires_grad


@filled("region_sampler")
@pytest.mark.parametrize("kind", ["mixed", "no objects"])
def test_region_sampler(remedy, baseline, kind):
    made, _ = build("region_sampler", remedy, baseline)
    matched = regions(kind)
    with Waits() as waits:
        keep, _ = made(matched)
    assert not waits.found, f"waits for the device: {waits.found}"
    assert keep.shape == (R,) and keep.dtype == torch.bool
    assert not (keep & ~matched.considered).any(), "an ignored region was sampled"
    if made.per_image is not None:
        assert torch.bincount(matched.images[keep], minlength=2).max() <= made.per_image


@filled("matcher")
def test_matcher(remedy, baseline):
    made, _ = build("matcher", remedy, baseline)
    valid = torch.tensor([[True, True, False], [False, False, False]])  # the second image has no object
    iou = torch.rand(2, 3, 40) * valid[:, :, None]
    places = torch.rand(2, 43, 2, generator=torch.Generator().manual_seed(0)) * 100
    places = torch.cat((places, places + 20), dim=2)
    made.build((4, 8, 16))
    geometry = {"regions": places[:, :40], "levels": torch.arange(40).expand(2, 40) % 3, "objects": places[:, 40:]}
    objects, best, kind = made(iou, valid, **(geometry if made.geometry else {}))
    assert objects.shape == best.shape == kind.shape == (2, 40)
    assert set(kind.unique().tolist()) <= {-1, 0, 1} and not (kind[1] == 1).any()
    assert (objects[0][kind[0] == 1] < 2).all(), "a region was matched to padding"


class ToyHead:
    """Linear logits, as a stage of RoI heads gives them."""

    def __init__(self):
        self.layer = torch.nn.Linear(64 * 49, K + 1)

    def __call__(self, x):
        return self.layer(x.flatten(1)), torch.zeros(len(x), K, 4)

    fixed = __call__

    def scores(self, logits):
        return logits.softmax(dim=1)[:, :-1]


@filled("region_features")
def test_region_features(remedy, baseline):
    made, _ = build("region_features", remedy, baseline)
    features = torch.randn(R, 64, 7, 7, requires_grad=True)
    made.build(64, 7)
    matched, head = regions(), ToyHead()
    with Waits() as waits:
        changed, stats = made(features, matched, head)
    assert not waits.found, f"waits for the device: {waits.found}"
    assert changed.shape == features.shape and torch.isfinite(changed).all()
    assert not any(torch.is_tensor(stat) and stat.requires_grad for stat in stats.values())


@filled("objective")
def test_objective(remedy, baseline):
    made, _ = build("objective", remedy, baseline)
    losses = {"loss_cls": torch.tensor(2.0, requires_grad=True), "loss_box_reg": torch.tensor(0.0, requires_grad=True)}
    weighted, _ = made(losses)
    assert set(losses) <= set(weighted) and all(torch.isfinite(value) for value in weighted.values())
    assert sum(weighted.values()).requires_grad


@filled("calibration")
def test_calibration(remedy, baseline):
    made, _ = build("calibration", remedy, baseline)
    logits = torch.randn(R, K + 1)
    for width, form in ((K + 1, SoftmaxCrossEntropy()), (K, SigmoidCrossEntropy())):
        changed = made.logits(logits[:, :width])
        scores = made(form.scores(changed), form.background(changed))
        assert changed.shape == (R, width) and scores.shape == (R, K) and 0 <= scores.min() and scores.max() <= 1


@filled("classifier")
def test_classifier(remedy, baseline):
    make, _ = build("classifier", remedy, baseline)
    layer = make(16, K + 1)
    layer.start(-2.0)
    x = torch.randn(R, 16, requires_grad=True)
    logits = layer(x)
    logits.sum().backward()
    assert logits.shape == (R, K + 1) and torch.isfinite(logits).all() and torch.isfinite(x.grad).all()
    layer.start(torch.arange(K + 1.0))
    assert layer.state_dict().keys() >= {"weight", "bias"}


@filled("coupling")
@pytest.mark.parametrize("kind", ["mixed", "no objects"])
def test_coupling(remedy, baseline, kind):
    made, cfg = build("coupling", remedy, baseline)
    slots = slots_of(cfg)
    classification, regression = (instantiate(select(cfg, slots[name][0])) for name in ("classification", "regression"))
    coder = instantiate(select(cfg, slots["regression"][0].replace("regression", "box_coder")))
    matched = regions(kind)
    logits = torch.randn(R, classification.num_logits(K), requires_grad=True)
    outputs = 0.3 * torch.randn(R, regression.num_values + regression.extra_values)
    outputs = torch.where(matched.foreground[:, None], outputs, 0.0).requires_grad_()
    values = (
        classification(logits, matched)[0].where(matched.considered, 0.0),
        regression(outputs, matched, coder)[0].where(matched.foreground, 0.0),
    )
    with Waits() as waits:
        losses, stats = made(logits, outputs, values, matched)
    assert not waits.found, f"waits for the device: {waits.found}"
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    gradients = [x.grad for x in (logits, outputs) if x.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    assert not any(torch.is_tensor(stat) and stat.requires_grad for stat in stats.values())


@filled("mix")
def test_mix(remedy, baseline):
    made, cfg = build("mix", remedy, baseline)
    records = instantiate(cfg.data.train)
    made.build(records)
    images = [records.images[i].clone() for i in range(len(records))]
    found = [made(records.images[0], records.target(0), Draw(records, 5), np.random.default_rng(3)) for _ in range(2)]
    assert all(torch.equal(records.images[i], image) for i, image in enumerate(images)), (
        "a picture was changed in place"
    )
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1]["boxes"], found[1][1]["boxes"])
    image, target = found[0]
    height, width = image.shape[1:]
    assert image.dtype == torch.uint8 and image.shape[0] == 3 and len(target["boxes"]) == len(target["labels"])
    assert (target["boxes"] >= 0).all() and (target["boxes"] <= torch.tensor([width, height, width, height])).all()


@filled("image_sampler")
def test_image_sampler(remedy, baseline):
    make, cfg = build("image_sampler", remedy, baseline)
    records = instantiate(cfg.data.train)
    sampler = make(records, 0)
    first = list(islice(sampler.indices(), 40))
    assert min(first) >= 0 and max(first) < len(records)
    assert list(islice(make(records, 0).indices(7), 33)) == first[7:], "not a pure function of (seed, position)"
    assert list(islice(make(records, 1).indices(), 40)) != first, "the seed does nothing"


@filled("balance")
def test_balance(remedy, baseline):
    pytest.importorskip("imblearn", reason="the extra `sampling` is not installed")
    made, cfg = build("balance", remedy, baseline)
    records = instantiate(cfg.data.train)
    balanced = made(records)
    assert len(balanced) > 0 and balanced.class_names == records.class_names
    assert made(records).fingerprint() == balanced.fingerprint(), "not repeatable"


@filled("augment")
def test_augment(remedy, baseline):
    made, cfg = build("augment", remedy, baseline)
    records = instantiate(cfg.data.train)
    image, target = records.images[0], records.target(0)
    before = image.clone(), copy.deepcopy(target)
    results = [made(image, target, np.random.default_rng(3)) for _ in range(2)]
    assert torch.equal(image, before[0]) and torch.equal(target["boxes"], before[1]["boxes"]), "changed in place"
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1]["boxes"], results[1][1]["boxes"])
    changed, new = results[0]
    assert changed.dtype == torch.uint8 and changed.shape[0] == 3
    assert len(new["boxes"]) == len(new["labels"])
    height, width = changed.shape[1:]
    assert (new["boxes"] >= 0).all() and (new["boxes"] <= torch.tensor([width, height, width, height])).all()
