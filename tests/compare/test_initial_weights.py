"""Every arm of a seed begins with the same random weights where shapes agree, and with its own constants."""

import math
from itertools import islice

import torch
from torch import nn

from imbdet.compare.initial_weights import alike, drawn_entries, initial_state, shared_start
from imbdet.compare.structures import Configs, cell_config
from imbdet.config import LazyCall as L
from imbdet.config import instantiate, load_config
from imbdet.engine.checkpoint import load_file
from imbdet.engine.weights import share

from .conftest import FOCAL, tiny, tiny_plan


class Net(nn.Module):
    """A body and a head; `extra` adds a layer in between, which shifts what is drawn for the head."""

    def __init__(self, extra=False, classes=3, bias=0.0, spread=1.0, pretrained=None):
        super().__init__()
        self.body = nn.Linear(16, 16)
        if extra:
            self.middle = nn.Linear(16, 16)
        self.head = nn.Linear(16, classes)
        nn.init.constant_(self.head.bias, bias)
        with torch.no_grad():
            self.head.weight.mul_(spread)
            if pretrained is not None:
                self.body.weight.fill_(pretrained)


def config(**settings):
    cfg = load_config(tiny())
    cfg.model = L(f"{__name__}.Net")(**settings)
    return cfg


def start(base, arm, tmp_path, seed=0, name="arm"):
    """The state that a run of `arm` begins with."""
    path = shared_start(base, arm, name, seed, tmp_path)
    state = initial_state(arm, seed)
    net = Net(extra="middle.weight" in state, classes=len(state["head.bias"]))
    net.load_state_dict(state)
    share(net, path, say=lambda line: None)
    return net.state_dict(), path


def test_a_layer_more_shifts_nothing(tmp_path):
    base, arm = config(), config(extra=True)
    plain, own = initial_state(base, 0), initial_state(arm, 0)
    assert not torch.equal(plain["head.weight"], own["head.weight"])  # why seeding is not enough
    state, _ = start(base, arm, tmp_path)
    assert all(torch.equal(state[name], plain[name]) for name in plain)
    assert torch.equal(state["middle.weight"], own["middle.weight"])
    other, _ = start(base, arm, tmp_path, seed=1)
    assert not torch.equal(other["head.weight"], state["head.weight"])


def test_the_baseline_begins_as_without_any_comparison(tmp_path):
    base = config()
    state, path = start(base, base, tmp_path)
    assert path == str(tmp_path / "init" / "seed_0.pth")
    assert all(torch.equal(state[name], value) for name, value in initial_state(base, 0).items())


def test_constants_stay_the_arms_own(tmp_path):
    """A bias set by a prior, and pretrained weights; in the baseline or in the arm."""
    base, arm = config(), config(extra=True, bias=-4.6, pretrained=0.5)
    state, path = start(base, arm, tmp_path)
    assert torch.equal(state["head.bias"], torch.full((3,), -4.6)) and (state["body.weight"] == 0.5).all()
    assert torch.equal(state["head.weight"], initial_state(base, 0)["head.weight"])
    assert path.endswith("seed_0-arm.pth") and set(load_file(path)["model"]) == {"body.bias", "head.weight"}
    reverse, _ = start(arm, config(), tmp_path / "reverse")
    assert torch.equal(reverse["head.bias"], torch.zeros(3)) and not (reverse["body.weight"] == 0.5).all()


def test_other_shapes_and_other_spreads_stay_the_arms_own(tmp_path):
    base = config()
    state, _ = start(base, config(classes=5), tmp_path)
    assert state["head.weight"].shape == (5, 16)
    assert torch.equal(state["body.weight"], initial_state(base, 0)["body.weight"])
    narrow = config(spread=0.1)
    state, _ = start(base, narrow, tmp_path, name="narrow")
    assert torch.equal(state["head.weight"], initial_state(narrow, 0)["head.weight"])


def test_spreads_that_differ_by_chance_are_alike():
    """n = 100: the log of the ratio may be up to 6 / 10, that is, a factor of 1.82."""
    a = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert alike(a, 1.8 * a) and not alike(a, 1.9 * a) and not alike(a, a[:50])
    assert math.isclose(math.exp(0.6), 1.822, abs_tol=1e-3)
    assert alike(torch.zeros(3), torch.zeros(3)) and not alike(torch.zeros(3), torch.ones(3) * torch.arange(3))


def test_a_checkpoint_of_the_users_is_the_common_start(tmp_path):
    """What it holds is constant; what it lacks is drawn, and shared."""
    given = {"body.weight": torch.full((16, 16), 2.0), "body.bias": torch.full((16,), 3.0)}
    torch.save({"model": given}, tmp_path / "given.pth")
    base, arm = config(), config(extra=True)
    for cfg in (base, arm):
        cfg.train.init_checkpoint, cfg.train.init_strict = str(tmp_path / "given.pth"), False
    assert set(drawn_entries(base, 0)) == {"head.weight"}
    state, _ = start(base, arm, tmp_path)
    assert (state["body.weight"] == 2.0).all() and (state["body.bias"] == 3.0).all()
    assert torch.equal(state["head.weight"], initial_state(base, 0)["head.weight"])


def test_both_arms_see_the_same_images_in_the_same_order(tmp_path):
    """Of one seed; another seed has another order, and all have the same validation set."""

    def order(arm, seed):
        cfg = cell_config(plan, arm, seed, tmp_path)
        train, val = instantiate(cfg.dataloader.train), instantiate(cfg.dataloader.val)
        return list(islice(train.sampler.indices(), 100)), val.records.fingerprint()

    plan = tiny_plan(FOCAL)
    baseline, focal, other = order(plan.arms[0], 3), order(FOCAL, 3), order(FOCAL, 4)
    assert baseline == focal and other[0] != focal[0] and other[1] == focal[1]


def test_nothing_in_common(tmp_path):
    arm = config()
    arm.model = L(nn.Linear)(in_features=16, out_features=3)
    assert shared_start(config(), arm, "arm", 0, tmp_path) == ""


def test_focal_loss_on_retinanet_keeps_its_own_prior(tmp_path):
    """The baseline with a prior of one half has a bias of 0, focal loss one of -log(0.99 / 0.01) = -4.595; all drawn
    weights agree."""
    plan = tiny_plan(FOCAL)
    configs = Configs(plan)
    base, arm = configs.base, cell_config(plan, FOCAL, 0, tmp_path)
    base.model.criterion.classification.prior = 0.5
    path = shared_start(base, arm, "focal_loss", 0, tmp_path)
    model = load_file(path)["model"]
    own, other = initial_state(arm, 0), initial_state(base, 0)
    bias = "head.cls_score.bias"
    assert bias not in model and torch.allclose(own[bias], torch.tensor(-4.59512)) and (other[bias] == 0).all()
    drawn = drawn_entries(base, 0)
    assert set(model) == set(drawn) and "head.cls_score.weight" in model and len(model) > 10
    assert not any("running" in name for name in model)
