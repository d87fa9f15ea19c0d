"""Whole detectors: torchvision's form, batches without objects, counts of operators, and a loss that falls."""

import pytest
import torch

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.modeling.count import OperatorCount
from imbdet.slots import Calibration
from imbdet.structures import RegionStats

CONFIGS = ["baselines/faster_rcnn_shapes", "baselines/retinanet_shapes"]


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    torch.manual_seed(0)
    cfg = load_config(request.param)
    cfg.model.num_classes = 10
    return instantiate(cfg.model)


@pytest.mark.parametrize("counts", [(0, 0), (1, 0, 3), (300,)])
def test_any_number_of_objects_trains(model, counts):
    model.train().zero_grad()
    losses, stats = model(*testing.batch(*counts))
    sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    if not any(counts):
        assert all(v == 0 for k, v in losses.items() if k.endswith(("loc", "reg")))
    assert all(isinstance(v, RegionStats) or not v.requires_grad for v in stats.values())


def test_pictures_of_different_sizes(model):
    images = [torch.zeros(3, h, w, dtype=torch.uint8) for h, w in ((70, 100), (128, 64), (33, 31))]
    with torch.no_grad():
        found = model.eval()(images)
    assert len(found) == 3
    for image, d in zip(images, found, strict=True):
        assert d["boxes"].shape == (len(d["scores"]), 4) and d["labels"].dtype == torch.int64
        assert (d["scores"].diff() <= 0).all() and (d["boxes"] >= 0).all()
        assert (d["boxes"][:, 2] <= image.shape[2]).all() and (d["boxes"][:, 3] <= image.shape[1]).all()


def test_padding_does_not_change_what_is_found(model):
    images, _ = testing.batch(2)
    with torch.no_grad():
        alone = model.eval()(images)[0]
        beside = model(images + [torch.zeros(3, 128, 128, dtype=torch.uint8)])[0]
    assert torch.allclose(alone["scores"], beside["scores"], atol=1e-6)
    rows = [torch.cat((found["boxes"], 1000.0 * found["labels"].unsqueeze(1)), dim=1) for found in (alone, beside)]
    # scores of untrained anchors are nearly equal, so neighbors in the order change places
    apart = torch.cdist(*rows, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
    assert (apart < 1e-3).sum() >= 0.98 * len(apart)


def test_training_needs_targets(model):
    with pytest.raises(ValueError, match="one target for each of the 2 images, got None"):
        model.train()(testing.batch(1, 1)[0])


def test_operators_and_waits_do_not_grow_with_the_images(model):
    model.train()
    counts = {}
    for n in (2, 8):
        images, targets = testing.batch(*[3] * n)
        model(images, targets)
        with OperatorCount() as count:
            model(images, targets)
        counts[n] = count
    assert counts[8].operators <= counts[2].operators + 60  # rounds of suppression may differ
    assert counts[8].synchronizations <= 20 and counts[2].synchronizations <= 20
    if not hasattr(model, "roi_heads"):
        assert counts[8].synchronizations <= 8 and counts[8].operators == counts[2].operators


@pytest.mark.slow
def test_loss_falls_on_one_batch(model):
    torch.manual_seed(0)
    images, targets = testing.batch(2, 3)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3)
    history = []
    for _ in range(25):
        losses, _ = model(images, targets)
        total = sum(losses.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert sum(history[-3:]) < 0.7 * sum(history[:3])


class Constant(Calibration):
    def __init__(self, value):
        self.value = value

    def __call__(self, scores, background):
        return torch.full_like(scores, self.value)


def test_calibration_decides_what_is_kept(model):
    """Of an untrained detector, whose own scores may all lie below the threshold."""
    images, _ = testing.batch(2)
    model.eval()
    found = []
    for value in (0.0, 0.9):
        model.calibration = Constant(value)
        with torch.no_grad():
            found.append(model(images)[0]["scores"])
    model.calibration = None
    assert len(found[0]) == 0 and len(found[1]) > 0 and found[1].unique().tolist() == [pytest.approx(0.9)]


def test_autocast_gives_finite_losses(model):
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = model.train()(*testing.batch(2, 1))
    sum(losses.values()).backward()
    assert all(v.dtype == torch.float32 and torch.isfinite(v) for v in losses.values())


def test_training_after_inference_mode(model):
    images, targets = testing.batch(2, size=96)
    with torch.inference_mode():
        model.eval()(images)
    losses, _ = model.train()(images, targets)
    sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in losses.values())


def test_weights_that_are_not_finite_give_a_loss_that_is_not_finite(model):
    import copy

    broken = copy.deepcopy(model).train()
    with torch.no_grad():
        next(broken.neck.parameters()).fill_(float("nan"))
    losses, _ = broken(*testing.batch(2, 1))
    assert not torch.isfinite(sum(losses.values()))


def test_few_candidates_are_suppressed_as_many_are(monkeypatch):
    torch.manual_seed(0)
    cfg = load_config(CONFIGS[0])
    cfg.model.num_classes = 10
    model = instantiate(cfg.model).eval()
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=0.3)
    images, _ = testing.batch(3, 1)
    with torch.no_grad():
        pairs = model(images)
        monkeypatch.setattr("imbdet.modeling.detectors.faster_rcnn.PAIRS", 0)
        kernel = model(images)
    for a, b in zip(pairs, kernel, strict=True):
        assert len(a["scores"]) > 20
        assert all(torch.equal(a[key], b[key]) for key in a)
