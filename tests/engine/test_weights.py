import pytest
import torch
from torch import nn

from imbdet.engine.ema import ModelEma
from imbdet.engine.settings import Settings
from imbdet.engine.weights import initialize, load_model_weights


def net(classes=3, width=4):
    return nn.ModuleDict({"body": nn.Linear(2, width), "head": nn.Linear(width, classes)})


def save(model, path, **more):
    torch.save({"model": model.state_dict(), "iteration": 1, **more}, path)
    return path


def test_weights_arrive(tmp_path):
    source, target = net(), net()
    assert load_model_weights(target, save(source, tmp_path / "a.pth")) == []
    assert torch.equal(target["head"].weight, source["head"].weight)


def test_the_average_is_preferred(tmp_path):
    source, target = net(), net()
    ema = ModelEma(source, 0.9)
    with torch.no_grad():
        source["head"].weight.add_(1.0)
    load_model_weights(target, save(source, tmp_path / "a.pth", ema=ema.state_dict()))
    assert torch.equal(target["head"].weight, ema.shadow[2])
    assert not torch.equal(target["head"].weight, source["head"].weight)


def test_another_model_is_refused_with_names_and_shapes(tmp_path):
    target = nn.ModuleDict({"head": nn.Linear(4, 5), "neck": nn.Linear(2, 2)})
    before = target["head"].weight.clone()
    with pytest.raises(ValueError) as error:
        load_model_weights(target, save(net(), tmp_path / "a.pth"))
    text = str(error.value)
    assert "0 of 4 entries agree" in text
    assert "2 missing in the file: neck.weight, neck.bias" in text
    assert "2 not in this model: body.weight, body.bias" in text
    assert "head.weight (3, 4), here (5, 4)" in text
    assert torch.equal(target["head"].weight, before)


def test_a_head_for_other_classes_keeps_its_initial_values_if_not_strict(tmp_path):
    source, target, said = net(classes=3), net(classes=5), []
    head = target["head"].weight.clone()
    settings = Settings(init_checkpoint=str(save(source, tmp_path / "a.pth")), init_strict=False)
    initialize(target, settings, say=said.append)
    assert torch.equal(target["body"].weight, source["body"].weight) and torch.equal(target["head"].weight, head)
    assert any("head.weight (3, 4), here (5, 4)" in line for line in said)


def test_nothing_that_fits_is_an_error_even_if_not_strict(tmp_path):
    with pytest.raises(ValueError, match="0 of 2 entries agree"):
        load_model_weights(nn.Linear(9, 9), save(net(), tmp_path / "a.pth"), strict=False)


def test_a_file_without_weights(tmp_path):
    torch.save({"model": 3}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="a.pth.* holds no weights"):
        load_model_weights(net(), tmp_path / "a.pth")
