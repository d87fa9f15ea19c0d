"""configs/common: training keys, optimizers, schedules."""

from dataclasses import fields, is_dataclass

import pytest
import torch
from fvcore.common.param_scheduler import MultiStepParamScheduler
from omegaconf import OmegaConf

from imbdet.config import configs_dir, instantiate, load_config
from imbdet.config.files import run_file
from imbdet.engine.settings import Settings


def common(name):
    return run_file(configs_dir() / "common" / f"{name}.py")


def keys(settings):
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {name: keys(value) if is_dataclass(value) else None for name, value in values.items()}


def test_train_has_exactly_the_keys_that_the_engine_reads():
    train = common("train")["train"]
    given = {key: dict.fromkeys(value) if isinstance(value, dict) else None for key, value in train.items()}
    assert given == keys(Settings())
    assert load_config(configs_dir() / "common" / "train.py").train.max_iter == 90000


@pytest.mark.parametrize(("name", "kind"), [("SGD", torch.optim.SGD), ("AdamW", torch.optim.AdamW)])
def test_optimizers_build_and_leave_norm_layers_undecayed(name, kind):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    cfg = OmegaConf.create({"optimizer": common("optimizer")[name]})
    optimizer = instantiate(cfg.optimizer, params=instantiate(cfg.optimizer.params, model=model))
    assert type(optimizer) is kind
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay[id(model[0].weight)] == cfg.optimizer.weight_decay and decay[id(model[1].weight)] == 0.0


STEPS = [("1x", 9e4, (6e4, 8e4)), ("2x", 18e4, (12e4, 16e4)), ("3x", 27e4, (21e4, 25e4))]


@pytest.mark.parametrize(("name", "total", "drops"), STEPS)
def test_step_schedules_are_detectron2s(name, total, drops):
    factor = instantiate(common("schedule")[f"lr_multiplier_{name}"])
    oracle = MultiStepParamScheduler([1.0, 0.1, 0.01], milestones=list(drops), num_updates=total)
    for step in (1000, 50000, drops[0] - 1, drops[0] + 1, drops[1] - 1, drops[1] + 1, total - 1):
        assert factor(step / total) == pytest.approx(oracle(step / total), rel=1e-12)
    assert factor(0.0) == pytest.approx(0.001) and factor(500 / total) == pytest.approx(0.5005)


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_decays_warm_up_for_so_many_iterations_and_end_at_zero(name):
    cfg = OmegaConf.create({"train": {"max_iter": 4000}, "lr": common("schedule")[f"lr_multiplier_{name}"]})
    factor = instantiate(cfg.lr)
    assert factor(0.0) == pytest.approx(0.001)
    assert max(range(4000), key=lambda step: factor(step / 4000)) == 1000
    assert factor(0.5) == pytest.approx(0.5) and factor(3999 / 4000) < 1e-3
