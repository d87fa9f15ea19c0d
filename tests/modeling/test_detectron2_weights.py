"""Names of detectron2: whole models, ImageNet pickles of both kinds, and files that must not be trusted."""

import pickle

import numpy as np
import pytest
import torch

import imbdet
from imbdet.config import instantiate, load_config
from imbdet.engine.weights import load_model_weights
from imbdet.modeling.detectron2_weights import load_detectron2_weights, our_name


@pytest.fixture(scope="module")
def model():
    cfg = load_config(
        "baselines/retinanet_r50_coco", overrides=["model.backbone.name=resnet18", "model.neck.channels=8"]
    )
    cfg.model.num_classes, cfg.model.backbone.stride_in_1x1 = 3, False
    return instantiate(cfg.model)


def their_name(name):
    """The inverse of `our_name` for the entries of a RetinaNet."""
    import re

    name = re.sub(r"^neck\.", "backbone.", name)
    name = re.sub(r"^backbone\.body\.bn1\.", "backbone.bottom_up.stem.conv1.norm.", name)
    name = re.sub(r"^backbone\.body\.conv1\.", "backbone.bottom_up.stem.conv1.", name)
    name = re.sub(r"^backbone\.body\.layer(\d)", lambda m: f"backbone.bottom_up.res{int(m[1]) + 1}", name)
    name = re.sub(r"\.bn(\d)\.", r".conv\1.norm.", name)
    return name.replace(".downsample.0.", ".shortcut.").replace(".downsample.1.", ".shortcut.norm.")


def random_state(model):
    g = torch.Generator().manual_seed(0)
    return {
        their_name(k): torch.randn(v.shape, generator=g)
        for k, v in model.state_dict().items()
        if "normalizer" not in k and "num_batches" not in k
    }


def test_every_entry_finds_its_place(model):
    state = random_state(model)
    report = imbdet.load_detectron2_weights(model, state)
    assert report == {"missing": [], "unexpected": [], "other_shape": []}
    own = model.state_dict()
    assert all(torch.equal(own[our_name(k)], v) for k, v in state.items())


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_files(model, tmp_path, suffix):
    state = random_state(model)
    path = tmp_path / f"model{suffix}"
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps({"model": {k: v.numpy() for k, v in state.items()}, "__author__": "somebody"}))
    else:
        torch.save({"model": state, "iteration": 9}, path)
    load_detectron2_weights(model, path)
    assert torch.equal(model.neck.fpn_lateral3.weight, state["backbone.fpn_lateral3.weight"])


@pytest.mark.parametrize("style", ["caffe2", "torchvision"])
def test_imagenet_backbone(model, tmp_path, style):
    weight = np.random.RandomState(0).randn(64, 64, 3, 3).astype(np.float32)
    body = {
        k.removeprefix("backbone.bottom_up."): v.numpy() for k, v in random_state(model).items() if ".bottom_up." in k
    }
    body["res2.0.conv1.weight"] = weight
    if style == "caffe2":
        ends = {"norm.weight": "bn_s", "norm.bias": "bn_b", "norm.running_mean": "bn_rm", "norm.running_var": "bn_riv"}

        def caffe2(k):
            for ours, theirs in ends.items():
                k = k.replace(ours, theirs)
            k = k.replace(".weight", "_w").replace("stem.conv1.", "conv1_").replace("stem.conv1", "conv1")
            for i, letter in ((1, "a"), (2, "b")):
                k = k.replace(f".conv{i}.", f"_branch2{letter}_").replace(f".conv{i}_", f"_branch2{letter}_")
            k = k.replace(".shortcut.", "_branch1_").replace(".shortcut_", "_branch1_")
            return (
                k.replace("res2.", "res2_")
                .replace("res3.", "res3_")
                .replace("res4.", "res4_")
                .replace("res5.", "res5_")
            )

        body = {caffe2(k): v for k, v in body.items()}
        body["fc1000_w"] = np.zeros((2, 2), np.float32)
    (tmp_path / "R.pkl").write_bytes(pickle.dumps({"model": body}))
    head = model.head.cls_score.weight.clone()
    report = load_detectron2_weights(model, tmp_path / "R.pkl")
    assert torch.equal(model.backbone.body.layer1[0].conv1.weight, torch.from_numpy(weight))
    assert torch.equal(model.head.cls_score.weight, head)
    assert report["unexpected"] == [] and not any(k.startswith("backbone.") for k in report["missing"])


def test_a_pickle_that_runs_code_is_refused(model, tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"model": Evil()}))
    with pytest.raises(pickle.UnpicklingError, match="builtins.print"):
        load_detectron2_weights(model, tmp_path / "bad.pkl")


def test_another_model(model):
    state = random_state(model)
    del state["head.cls_score.bias"]
    state["roi_heads.box_head.fc1.weight"] = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"1 entries missing \['head.cls_score.bias'\], 1 unexpected"):
        load_detectron2_weights(model, state)
    assert load_detectron2_weights(model, state, strict=False)["missing"] == ["head.cls_score.bias"]
    state["head.cls_score.weight"] = torch.zeros(5, 8, 3, 3)
    with pytest.raises(ValueError, match=r"head.cls_score.weight is \(5, 8, 3, 3\), the model has \(27, 8, 3, 3\)"):
        load_detectron2_weights(model, state)
    assert load_detectron2_weights(model, state, strict=False)["other_shape"] == ["head.cls_score.weight"]
    with pytest.raises(FileNotFoundError):
        load_detectron2_weights(model, "nowhere.pkl")


def test_through_the_engine(model, tmp_path):
    """`train.init_checkpoint`: a zoo file for another number of classes, all but whose last layer fits."""
    state = random_state(model)
    state["head.cls_score.weight"] = torch.zeros(5, 8, 3, 3)
    for name in ("zoo.pkl", "zoo.pth"):
        if name.endswith("pkl"):
            (tmp_path / name).write_bytes(pickle.dumps({"model": {k: v.numpy() for k, v in state.items()}}))
        else:
            torch.save({"model": state}, tmp_path / name)
        with pytest.raises(ValueError, match="head.cls_score.weight"):
            load_model_weights(model, tmp_path / name)
        assert any(
            "of another shape: head.cls_score.weight" in x for x in load_model_weights(model, tmp_path / name, False)
        )
        assert torch.equal(model.neck.fpn_lateral3.weight, state["backbone.fpn_lateral3.weight"])
