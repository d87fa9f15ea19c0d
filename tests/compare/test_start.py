"""What all arms of a seed begin from besides random numbers, and seeds that draw data."""

from dataclasses import replace

import pytest
import torch

from imbdet.compare import make_starts
from imbdet.compare.fairness import DRAWN, check_equal
from imbdet.compare.initial_weights import keep_start, shared_start, start_path
from imbdet.compare.plan import make_plan
from imbdet.compare.structures import Request, RunRecord, arm_config, base_config, cell_config, seeds_draw
from imbdet.config import instantiate
from imbdet.data.samplers import bootstrapped
from imbdet.engine.checkpoint import load_file
from imbdet.engine.origin import training_records
from imbdet.runs import LAST

from .conftest import FOCAL, tiny, tiny_plan

OWN = ("dataloader.train.records=${data.val}",)


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
    with pytest.raises(ValueError, match=r"--start-keeps: no entry of .* matches nothing.*; it has .*\.\*"):
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


def test_seeds_that_draw_training_images(tmp_path):
    """Each arm of a seed gets one draw, counts follow it, validation stays; two seeds get two draws."""
    asked = Request(tiny(), ("class_weights",), seeds=(0, 3), controls=False, resample_train=True)
    plan = make_plan(asked, tmp_path / "out")[0]
    whole = instantiate(base_config(plan).data.train)
    drawn = {}
    for seed in plan.seeds:
        configs = [cell_config(plan, arm, seed, tmp_path) for arm in plan.arms]
        one, other = (instantiate(cfg.data.train) for cfg in configs)
        assert one.fingerprint() == other.fingerprint() and len(one) == len(whole)
        assert instantiate(configs[0].data.val).fingerprint() == instantiate(base_config(plan).data.val).fingerprint()
        assert instantiate(configs[1].dataloader.train).records.fingerprint() == one.fingerprint()
        assert training_records(configs[1]).class_counts().tolist() == one.class_counts().tolist()
        drawn[seed] = one.image_ids.tolist()
    assert drawn[0] != drawn[3] and len(set(drawn[0])) < len(whole) and set(drawn[0]) <= set(whole.image_ids.tolist())
    assert drawn[0] == bootstrapped(whole, 0).image_ids.tolist()
    assert seeds_draw(plan).startswith("training images with replacement")
    for words, message in (({"draw_data": True}, "give one"), ({"overrides": OWN}, r"must be \$\{data.train\}")):
        with pytest.raises(ValueError, match=message):
            make_plan(replace(asked, **words), tmp_path / "o")


def test_data_of_two_seeds_may_differ_and_of_one_seed_may_not():
    def record(arm, seed, data, drawn=True, val="v"):
        return RunRecord(arm, seed, "", "finished", pins={"data.train": data, "data.val": val, DRAWN: drawn})

    assert check_equal([record("baseline", 0, "a"), record("baseline", 1, "b"), record("x", 0, "a")]) == []
    with pytest.raises(ValueError, match="data.train: a in baseline seed 0, b in x seed 0"):
        check_equal([record("baseline", 0, "a"), record("x", 0, "b")])
    train = "data.train"
    assert check_equal([record("baseline", 0, "a", train), record("baseline", 1, "b", train)]) == []
    with pytest.raises(ValueError, match="data.val: v in baseline seed 0, w in baseline seed 1"):
        check_equal([record("baseline", 0, "a", train), record("baseline", 1, "b", train, "w")])
