"""ASDN as part of a whole detector: any objects, mixed precision, cost, a detector at rest, length of the training."""

import pytest
import torch

from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config, save_config
from imbdet.engine.schedule import epochs_to_iterations
from imbdet.modeling.count import OperatorCount
from tests.modeling.adversaries import DROPOUT, scene, tiny_detector


@pytest.mark.parametrize("phase", ["adversary", "joint"])
@pytest.mark.parametrize(
    "counts, side", [((0, 0), 30), ((1, 0), 30), ((300, 2), 20), ((4, 3), 2)], ids=["none", "one", "300", "2 px"]
)
def test_any_objects_train(phase, counts, side):
    model = tiny_detector([DROPOUT], phase=phase)
    losses, stats = model(*scene(*counts, side=side))
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    learns = {name.startswith("roi_heads.region_features.") for name in grads}
    assert learns == ({True} if phase == "adversary" else {True, False})
    assert not any(torch.is_tensor(v) and v.requires_grad for v in stats.values())
    if not any(counts):
        assert losses["loss_dropout"] == 0 and stats["roi/dropout/after"] == 0


@pytest.mark.parametrize("phase", ["adversary", "joint"])
def test_mixed_precision(phase):
    model = tiny_detector([DROPOUT], phase=phase)
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = model(*scene(2, 3))
    assert losses["loss_dropout"].dtype == torch.float32 and all(torch.isfinite(v) for v in losses.values())
    sum(losses.values()).backward()
    head = [p.grad for p in model.roi_heads.box_head.parameters()]
    assert all(g is None if phase == "adversary" else g.abs().sum() > 0 for g in head)


@pytest.mark.parametrize("phase", ["adversary", "joint"])
def test_nothing_grows_with_the_images(phase):
    model, counts = tiny_detector([DROPOUT], phase=phase), []
    plain = tiny_detector()
    for n in (2, 8):
        batch = scene(*[3] * n)
        with OperatorCount() as count:
            model(*batch)
        with OperatorCount() as baseline:
            plain(*batch)
        assert count.synchronizations == baseline.synchronizations
        counts.append(count.operators - baseline.operators)  # the baseline's depend on what it has to suppress
    assert counts[0] == counts[1] < 200


def test_a_detector_at_rest_is_left_bit_equal():
    """Weight decay, momentum of AdamW and batch norm's statistics included."""
    model = tiny_detector([DROPOUT], phase="joint")
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)

    def step():
        losses, _ = model(*scene(2, 3))
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    model.roi_heads.region_features.phases.adversary = 99
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    mine = {name for name in before if name.startswith("roi_heads.region_features.")}
    assert changed == mine


def test_config_leaves_the_detector_its_updates():
    """400 updates of the detector, 80 of them alone; 40 steps of the adversary come on top."""
    cfg = load_config("baselines/faster_rcnn_shapes", [DROPOUT])
    assert cfg.train.max_iter == 400
    phases = instantiate(cfg.model.roi_heads.region_features.phases)
    assert (phases.detector, phases.adversary) == (80, 40)
    assert "rests for 40 steps" in phases.describe()
    assert cfg.model.roi_heads.region_features.per_image == 16  # a quarter of 64
    network = instantiate(cfg.model.roi_heads.region_features).network
    network.build(64, prior=0.1)
    assert [layer.out_channels for layer in network.layers[::2]] == [64, 64, 64, 64, 1]


def test_config_of_a_length_in_epochs(tmp_path):
    """100 iterations of epochs_to_iterations: 20 of the detector alone, and 10 steps of the adversary."""
    path = tmp_path / "mine.yaml"
    cfg = load_config("baselines/faster_rcnn_shapes")
    cfg.train.max_iter = L(epochs_to_iterations)(epochs=8, num_images=100, batch_size=8)
    save_config(cfg, path)
    cfg = load_config(path, [DROPOUT])
    phases = instantiate(cfg.model.roi_heads.region_features.phases)
    assert (instantiate(cfg.train.max_iter), phases.detector, phases.adversary) == (100, 20, 10)
