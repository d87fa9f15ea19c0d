"""What all arms of a seed begin from besides random numbers, and seeds that draw data."""

from dataclasses import replace

import pytest
import torch

from imbdet.compare import make_starts
from imbdet.compare.fairness import DRAWN, check_equal, keep_start, shared_start, start_path
from imbdet.compare.plan import make_plan
from imbdet.compare.structures import Request, RunRecord, arm_config, base_config, cell_config
from imbdet.engine.checkpoint import load_file
from imbdet.runs import LAST

from .conftest import FOCAL, tiny, tiny_plan


def test_arms_begin_with_the_trained_entries_that_match(finished_grid, tmp_path):
    """Backbone and neck are the checkpoint's, the head is drawn from the seed, for the baseline and another model."""
    checkpoint = finished_grid / "runs" / "baseline" / "seed_0" / LAST
    plan = tiny_plan(FOCAL, start=str(checkpoint), seeds=(0, 1))
    make_starts(plan, tmp_path, lambda trained, place: pytest.fail("a checkpoint needs no training"))
    trained, base = load_file(checkpoint)["model"], base_config(plan)
    plain = load_file(shared_start(base, base, "baseline", 1, tmp_path / "plain"))["model"]
    kept = [name for name in trained if name.startswith(("backbone.", "neck."))]
    for arm in plan.arms:
        begun = load_file(shared_start(base, arm_config(plan, arm), arm.name, 1, tmp_path))["model"]
        assert all(torch.equal(begun[name], trained[name]) for name in kept) and len(kept) > 10
        heads = [name for name in begun if name not in kept]
        assert heads and all(torch.equal(begun[name], plain[name]) for name in heads)
    with pytest.raises(ValueError, match="no entry of .* matches nothing"):
        keep_start(checkpoint, ("nothing",), tmp_path / "x.pth")


def test_a_start_is_trained_once_for_each_seed(finished_grid, tmp_path):
    plan, asked = tiny_plan(FOCAL, start=tiny(), seeds=(0, 1), tune=("auto",)), []

    def run(trained, place):
        asked.append(trained.cells())
        for arm, seed in trained.cells():
            folder = place / "runs" / arm / f"seed_{seed}"
            folder.mkdir(parents=True)
            (folder / LAST).write_bytes((finished_grid / "runs" / "baseline" / "seed_0" / LAST).read_bytes())
        return [RunRecord(*cell, "", "finished") for cell in trained.cells()]

    make_starts(plan, tmp_path, run)
    assert asked == [[("baseline", 0), ("baseline", 1), ("baseline", 1000)]]
    assert start_path(tmp_path, 1).is_file() and start_path(tmp_path / "tuning", 1000).is_file()
    make_starts(plan, tmp_path, run)
    make_starts(replace(plan, seeds=(0, 1, 2)), tmp_path, run)
    assert asked[1:] == [[("baseline", 2)]]
    failing = replace(plan, seeds=(5,), tune=())
    with pytest.raises(ValueError, match="--start .*: diverged"):
        make_starts(failing, tmp_path, lambda *_: [RunRecord("baseline", 5, "", "failed", "diverged")])


def test_seeds_that_draw_data(tmp_path):
    plan = make_plan(Request(tiny(), ("focal_loss",), seeds=(0, 3), controls=False, draw_data=True), tmp_path / "out")[
        0
    ]
    cfg = cell_config(plan, FOCAL, 3, tmp_path)
    assert plan.draw_data and cfg.data.train.seed == cfg.data.val.seed == 3
    assert cell_config(tiny_plan(FOCAL), FOCAL, 3, tmp_path).data.train.seed == 0
    with pytest.raises(ValueError, match="data.train is not drawn from data.seed"):
        make_plan(
            Request(tiny(), ("focal_loss",), draw_data=True, controls=False, overrides=("data.train.seed=0",)),
            tmp_path / "o",
        )


def test_data_of_two_seeds_may_differ_and_of_one_seed_may_not():
    def record(arm, seed, data):
        return RunRecord(arm, seed, "", "finished", pins={"data.train": data, DRAWN: True})

    assert check_equal([record("baseline", 0, "a"), record("baseline", 1, "b"), record("x", 0, "a")]) == []
    with pytest.raises(ValueError, match="data.train: a in baseline seed 0, b in x seed 0"):
        check_equal([record("baseline", 0, "a"), record("x", 0, "b")])
