"""torchvision's detectors with our weights: RetinaNet finds the same, and both train on a batch."""

import pytest
import torch

from benchmarks.detectors import benchmark_detector, build_case, random_batch
from benchmarks.peers import peer_batch, torchvision_peer


def test_retinanet_finds_what_torchvision_finds():
    model, size, _ = build_case("retinanet_shapes")
    torch.nn.init.normal_(model.head.cls_score.weight, std=5.0)  # scores that spread
    model.eval()
    peer = torchvision_peer(model).eval()
    images, targets = random_batch(2, size, 10)
    with torch.no_grad():
        ours, theirs = model(images), peer(peer_batch(images, targets, False)[0])
    for a, b in zip(ours, theirs, strict=True):
        assert len(a["scores"]) == len(b["scores"]) == 100
        same = (a["boxes"][:, None] - b["boxes"][None]).abs().amax(-1) < 1e-2
        same &= (a["scores"][:, None] - b["scores"][None]).abs() < 1e-4
        same &= a["labels"][:, None] == b["labels"][None]
        # torchvision clips before it suppresses, we (as detectron2) after, so a few at the border may differ
        assert same.any(1).float().mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("case", ["faster_rcnn_shapes", "retinanet_shapes"])
def test_our_operators_are_at_most_half(case):
    report = benchmark_detector(case, rounds=1)
    assert report["operators_8_ours"] <= report["operators_8_torchvision"] / 2
    assert report["synchronizations_8_ours"] <= (20 if "faster" in case else 8)
    assert report["synchronizations_8_torchvision"] > 60
    assert report["train_ratio"] > 0 and report["inference_ratio"] > 0


def test_cost_of_a_remedy_beside_the_plain_detector():
    from benchmarks.detectors import benchmark_remedies

    plain, neck, left_out = benchmark_remedies("retinanet_shapes", ["balanced_feature_pyramid", "x"], 1)
    assert neck["parameters"] - plain["parameters"] == 4 * (64 * 64 + 64), "four convolutions of 1x1"
    assert neck["saved_mib"] > plain["saved_mib"] and neck["operators_8"] == neck["operators_2"] > plain["operators_8"]
    assert neck["synchronizations_2"] == neck["synchronizations_8"] == 0 and "unknown remedy" in left_out["left_out"]


def test_saved_bytes_by_hand():
    """exp keeps its result: 1000 float32 are 4000 bytes, and a view of it adds nothing."""
    import torch

    from imbdet.modeling.count import SavedBytes

    x = torch.randn(1000, requires_grad=True)
    with SavedBytes() as saved:
        y = x.exp()
        z = y[:500] * y[500:]
    assert saved.total == 4000 and z.shape == (500,)
