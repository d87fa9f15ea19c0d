"""What a probe measures, and what is done with it."""

from dataclasses import replace

import pytest
import torch

from imbdet.compare import probe
from imbdet.compare.probe import costs
from imbdet.compare.structures import arm_config
from imbdet.engine.short import measure, tensor_bytes
from imbdet.write import write_json

from .conftest import COST, FOCAL, tiny_plan


def test_a_few_steps_tell_what_a_run_costs(tmp_path, capfd):
    plan = tiny_plan(FOCAL)
    cost = measure(arm_config(plan, FOCAL), str(tmp_path / "run"), steps=3)
    assert cost["step_seconds"] > 0 and cost["evaluation_seconds"] > 0 and cost["begin_seconds"] > 0
    assert cost["images"] == {"train": 32, "val": 8} and cost["batch"] == 2 and cost["threads"] == 1
    assert set(cost["data"]) == {"train", "val"} and cost["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert 2.5 < cost["state_bytes"] / cost["weights_bytes"] < 3.5  # weights and AdamW's two moments
    assert set(COST) == {"machine", *cost}


def test_bytes_by_hand():
    assert tensor_bytes({"a": torch.zeros(3), "b": [torch.zeros(2, dtype=torch.int64), 5, (torch.zeros(1),)]}) == 32


def test_a_kept_probe_serves_on_its_own_machine(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(probe, "probe", lambda plan, arm: asked.append(arm) or {"step_seconds": 1.0})
    plan = tiny_plan(FOCAL)
    assert costs(plan, tmp_path)[1]["step_seconds"] == 1.0 and asked == ["baseline"]
    write_json(tmp_path / "probe.json", COST)
    assert costs(plan, tmp_path) == (plan, COST) and asked == ["baseline"]
    write_json(tmp_path / "probe.json", {**COST, "machine": "another"})
    assert costs(plan, tmp_path)[1]["step_seconds"] == 1.0 and asked == ["baseline"] * 2


def test_a_time_budget_probes_each_new_arm(tmp_path, monkeypatch):
    pace = {"baseline": 0.1, "focal_loss": 0.2}
    asked = []
    monkeypatch.setattr(probe, "probe", lambda plan, arm: asked.append(arm) or {"step_seconds": pace[arm], "x": 1})
    plan, _ = costs(tiny_plan(FOCAL, budget="time"), tmp_path)
    assert asked == ["baseline", "focal_loss"] and plan.arms[1].overrides == ("train.max_iter=10",)
    write_json(tmp_path / "probe.json", COST)
    assert costs(plan, tmp_path)[0] == plan and len(asked) == 2  # it has its length


def test_a_baseline_that_cannot_begin_is_said_before_anything_runs(tmp_path):
    plan = replace(tiny_plan(), overrides=("train.init_checkpoint=none.pth",))
    with pytest.raises(ValueError, match="the first steps of baseline failed: no checkpoint at none.pth"):
        costs(plan, tmp_path)
