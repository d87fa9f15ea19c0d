"""Hierarchical Shot Detector: its mechanism, training on any batch, cost, and what its config keeps and refuses.

There is no neutral setting. What stands for it: with offsets of zero, as at first, the network equals its control
(`hierarchical_shot/test_layers.py`). Matching, mining and losses: `hierarchical_shot/test_step.py`.
"""

import math
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from imbdet import testing
from imbdet.config import load_config, shipped_configs, slots_of
from imbdet.data.datasets.shapes import shapes
from imbdet.engine.meters import read_stats
from imbdet.modeling.count import OperatorCount
from imbdet.remedies.spatial_iou._hierarchical_shot_step import BestBoxMatcher, ForegroundOr, HardNegatives, ShotStep
from imbdet.structures import RegionStats
from tests.remedies.spatial_iou.hierarchical_shot.cases import BASE, build, maps_of, moved

VARIANTS = [(), ("model.second=null",), ("model.shift=false",), ("model.enhance=false", "model.second=null")]


def entropy(iou):
    """Of the histogram in bins of 0.05 from the limit of 0.6 on: what is below was taken as an object's best box."""
    p = torch.histc(iou.clamp(max=1.0), 8, 0.6, 1.0)
    p = p / p.sum()
    return -(p[p > 0] * p[p > 0].log()).sum().item()


def test_mechanism_iou_of_classified_positives_is_flatter():
    """On the same weights: anchors with an object pile up just above the limit, regressed boxes spread."""
    options = ("model.second=null", "model.enhance=false")
    model, control = build(*options).train(), build(*options, "model.shift=false").train()
    records = shapes(split="train", num_images=6, seed=0)
    batch = [records.images[i] for i in range(6)], [records.target(i) for i in range(6)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(12):
        losses, _ = model(*batch)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    control.load_state_dict(model.state_dict(), strict=False)
    found = {}
    for name, detector in (("after", model), ("before", control)):
        with torch.no_grad():
            regions = detector(*batch)[1]["cls1/regions"].matched
        found[name] = regions.iou[regions.foreground]
    assert len(found["after"]) > 2 * len(found["before"])
    assert entropy(found["after"]) > entropy(found["before"]) + 0.5
    assert (found["after"] > 0.8).float().mean() > (found["before"] > 0.8).float().mean() + 0.1


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("counts", [(0, 0), (1, 0, 3)])
def test_every_parameter_learns_from_any_batch(variant, counts):
    """As DistributedDataParallel needs it, with no object at all, too; stats are detached."""
    model = build(*variant).train()
    losses, stats = model(*testing.batch(*counts, size=64))
    names = ["loss_reg1", "loss_cls1", "loss_reg2", "loss_cls2"]
    assert list(losses) == (names[:2] if "model.second=null" in variant else names)
    if not any(counts):
        assert all((value == 0) == ("reg" in name) for name, value in losses.items())
    sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in losses.values())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(isinstance(v, RegionStats) or not v.requires_grad for v in stats.values())


@pytest.mark.parametrize("columns, rows, step, side, reached", [(20, 15, 3, 4, 60), (2, 2, 25, 2, 4), (1, 1, 0, 60, 1)])
def test_many_tiny_and_large_objects(columns, rows, step, side, reached):
    """252 anchors cannot serve 300 objects; few objects that are apart all have one, of 2 pixels, too."""
    corner = torch.cartesian_prod(torch.arange(columns), torch.arange(rows)) * float(step)
    target = {"boxes": torch.cat((corner, corner + side), dim=1), "labels": torch.arange(len(corner)) % 10}
    model = moved(build(), 0.01).train()
    images, _ = testing.batch(0, 0, size=64)
    losses, stats = model(images, [target, {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}])
    sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    matched = stats["reg1/regions"].matched
    assert len(set(matched.objects[matched.foreground].tolist())) >= reached


def test_autocast():
    model = moved(build()).train()
    images, targets = testing.batch(2, 0, size=64)
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = model(images, targets)
        sum(losses.values()).backward()
        found = model.eval()(images)
    assert all(v.dtype == torch.float32 and torch.isfinite(v) for v in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert all(torch.isfinite(d["scores"]).all() and d["boxes"].dtype == torch.float32 for d in found)
    plain = model.train()(images, targets)[0]
    assert sum(losses.values()).item() == pytest.approx(sum(plain.values()).item(), rel=0.1)


def test_operators_do_not_grow_with_the_images_and_nothing_waits():
    model, counts = build().train(), {}
    for n in (2, 8):
        batch = testing.batch(*[3] * n, size=64)
        model(*batch)
        with OperatorCount() as counts[n]:
            model(*batch)
    assert counts[2].operators == counts[8].operators < 1800
    assert counts[2].synchronizations == counts[8].synchronizations == 0


def test_loss_falls_and_the_meters_read_every_pass():
    model = build().train()
    images, targets = testing.batch(2, 3, size=64)
    optimizer, history = torch.optim.AdamW(model.parameters(), lr=5e-3), []
    for _ in range(15):
        losses, stats = model(images, targets)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append(sum(losses.values()).item())
    assert sum(history[-3:]) < 0.6 * sum(history[:3])
    scalars, histograms = read_stats(stats, None)
    for tag in (
        "positives/reg1_per_image",
        "positives/cls2_per_image",
        "iou/cls1_before_mean",
        "share/cls2_background",
    ):
        assert tag in scalars
    assert {"iou/reg2_before", "iou/reg2_after", "iou/cls2_before"} <= set(histograms)
    assert scalars["cls2/shift"] > 0 and scalars["cls1/negatives_per_image"] > 0


def test_broken_weights_give_a_broken_loss():
    model = build().train()
    with torch.no_grad():
        next(model.neck.parameters()).fill_(math.nan)
    losses, _ = model(*testing.batch(2, 1, size=64))
    assert not torch.isfinite(sum(losses.values()))


def test_one_step_tells_the_classes():
    model = build("model.second=null")
    assert [step.num_classes for step in model.steps] == [10] and model.steps[0].num_logits == 11
    assert [step.num_classes for step in build().steps] == [1, 10]
    boxes, scores, labels, valid = model.eval().candidates(*maps_of(model))
    assert boxes.shape == (*scores.shape, 4) and labels.max() < 10 and valid.any()


@pytest.mark.parametrize("base", [name for name in shipped_configs("baselines") if "retinanet" in name])
def test_it_keeps_what_every_retinanet_stands_on(base):
    plain, cfg = load_config(base), load_config(base, ["hierarchical_shot"])
    for part in ("preprocess", "backbone", "neck", "num_classes", "score_threshold", "nms_threshold", "objective"):
        assert plain.model[part] == cfg.model[part]
    sizes = OmegaConf.to_container(plain.model.anchors.sizes)
    for (size,), (low, _, high) in zip(cfg.model.anchors.sizes, sizes, strict=True):
        assert size == pytest.approx(math.sqrt(low * high)) and cfg.model.anchors.offset == 0.5
    assert "dense_heads" not in slots_of(cfg) and cfg.optimizer == plain.optimizer


def test_remedies_of_what_it_keeps_go_with_it(tmp_path):
    """A neck composes with it in either order; a loss of the criterion that it replaces is refused."""
    neck = tmp_path / "wide_neck.py"
    neck.write_text(f'"""x"""\nbaseline = "{BASE}"\n\ndef apply(cfg):\n    cfg.model.neck.channels = 16\n')
    for names in ([str(neck), "hierarchical_shot"], ["hierarchical_shot", str(neck)]):
        cfg = load_config(BASE, names)
        assert cfg.model.neck.channels == 16 and cfg.model._target_.endswith("HierarchicalShotDetector")
    with pytest.raises(ValueError, match="both fill the slot 'classification'"):
        load_config(BASE, ["focal_loss", "hierarchical_shot"])
    with pytest.raises(ValueError, match="remedy 'focal_loss' does not fit .* has no criterion"):
        load_config(BASE, ["hierarchical_shot", "focal_loss"])
    with pytest.raises(ValueError, match="'hierarchical_shot' needs the slot dense_heads"):
        load_config("baselines/faster_rcnn_shapes", ["hierarchical_shot"])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: build("model.objectness=1.5"), "objectness is a probability in 0..1, got 1.5"),
        (lambda: BestBoxMatcher(1.2), "foreground is an IoU in 0..1, got 1.2"),
        (lambda: HardNegatives(-1), "ratio and stand_in must not be negative, got -1 and 15"),
        (lambda: ForegroundOr(0), "stand_in must be at least 1, got 0"),
        (
            lambda: ShotStep(None, None, None, SimpleNamespace(num_values=4, extra_values=4), None, None, None),
            "asks for 8 values",
        ),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
