"""Every shipped config on a GPU that is not there: nothing lies on two devices, and what waits is known.

One step of training with its backward and two pictures at test, on tensors that say they are on `cuda:0`; the same
losses as on the CPU.
"""

import copy

import pytest
import torch

from benchmarks.gpu.cases import CONFIGS, config, detector, pictures
from imbdet.config import instantiate
from tests.modeling.pretend import OnGPU, PretendGPU

#: where a step of training may wait: the anchors of a size, once; suppression; regions of each level before RoIAlign
TRAINING = ("imbdet/modeling/anchors.py", "imbdet/modeling/nms.py", "imbdet/modeling/roi_pool.py")
FAST = ("faster_rcnn_shapes", "simota")
DEEP = ("r50", "lite0")  #: nothing of their own but layers


@pytest.fixture(autouse=True)
def one_generator():
    torch.manual_seed(0)


def on_gpu_and_cpu(model):
    plain, given = copy.deepcopy(model), pictures()
    with PretendGPU() as gpu:
        model.to("cuda")
        assert not [where for where in gpu.waits if not where.endswith("to cuda")]
        gpu.waits.clear()
        torch.manual_seed(1)
        losses, _ = model(*given)
        sum(losses.values()).backward()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)
        optimizer.step()
        assert all(isinstance(p.grad, OnGPU) for p in model.parameters() if p.grad is not None)
        learned, training = sum(p.grad is not None for p in model.parameters()), gpu.waits.copy()
        model.eval()
        with torch.no_grad():
            found = model(given[0])
        assert all(isinstance(value, OnGPU) for one in found for value in one.values())
        values = {name: float(loss.detach()) for name, loss in losses.items()}
    torch.manual_seed(1)
    expected, _ = plain(*given)
    sum(expected.values()).backward()
    assert values == {name: float(loss.detach()) for name, loss in expected.items()}
    assert learned == sum(p.grad is not None for p in plain.parameters()) > 0
    return training


def check(name):
    training = on_gpu_and_cpu(detector(name, True))
    assert [where for where in training if not where.startswith(TRAINING)] == []


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.rsplit("/", 1)[-1] in FAST])
def test_one_device_and_known_waits(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CONFIGS if not any(deep in name for deep in DEEP)])
def test_one_device_and_known_waits_in_every_config(name):
    check(name)


@pytest.mark.parametrize(
    "name, key, value",
    [
        ("remedies/scale/rfla", "model.criterion.matcher.fields", [16.0, 32.0, 64.0]),
        ("remedies/class_fg_bg/adversarial_spatial_dropout", "train.max_iter", 1),
    ],
)
@pytest.mark.slow
def test_settings_and_phases_that_are_not_the_first(name, key, value):
    from omegaconf import OmegaConf

    cfg = config(name, True)
    OmegaConf.update(cfg, key, value, force_add=True)
    training = on_gpu_and_cpu(instantiate(cfg.model).train())
    assert [where for where in training if not where.startswith(TRAINING)] == []


def test_the_pretended_gpu_sees_what_a_gpu_would():
    """Two devices are refused; values that the host asks for, and copies that it waits for, are counted."""
    with PretendGPU() as gpu:
        x = torch.arange(6.0, device="cuda").view(2, 3)
        assert x.device.type == "cuda" and x.is_cuda and (x + 1).device == x.device
        assert not gpu.waits
        with pytest.raises(RuntimeError, match="two devices"):
            x + torch.ones(3)
        assert torch.equal((x * 2.0 + torch.tensor(1.0)).cpu(), torch.arange(6.0).view(2, 3) * 2 + 1)
        waits = [
            (lambda: x.sum().item(), 1),
            (lambda: x[x > 2], 1),
            (lambda: x.tolist(), 1),
            (lambda: bool((x > 2).any()), 1),
            (lambda: torch.ones(3).to("cuda"), 1),
            (lambda: torch.ones(3).to("cuda", non_blocking=True), 0),
            (lambda: x.to("cuda", torch.float64), 0),
            (lambda: x.new_tensor([1.0]), 1),
            (lambda: x[torch.tensor([0])], 1),
            (lambda: x[torch.tensor([0], device="cuda")], 1),
            (lambda: x.repeat_interleave(2, dim=0), 0),
            (lambda: torch.where(x > 2, x, 0.0), 0),
        ]
        for i, (action, expected) in enumerate(waits):
            gpu.waits.clear()
            action()
            assert gpu.waits.total() == expected, (i, gpu.waits)
        weight = torch.nn.Linear(3, 1).to("cuda")
        weight(x).sum().backward()
        assert weight.weight.grad.cpu().tolist() == [[3.0, 5.0, 7.0]]
