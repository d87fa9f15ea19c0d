"""What may stand side by side, and what is named when it may not."""

from dataclasses import replace

import pytest

from imbdet.compare.fairness import MADE, check_equal, config_changes, config_pins, extra_iterations, made_by_remedy
from imbdet.compare.results import read_results
from imbdet.compare.structures import Arm, Configs, RunRecord
from imbdet.config import load_config
from imbdet.config.remedy import find_remedy, remedy_names
from tests.helpers import load

from .conftest import FOCAL, tiny, tiny_plan

PINS = {
    "train.max_iter": 400,
    "optimizer.lr": 0.002,
    "data.train": "aa",
    "evaluator": {"name": "hotcoco", "version": "1.3.0"},
    "threads": 2,
    "version of torch": "2.14.1",
    "budget": "iterations",
    "gpu": None,
}


def record(arm="baseline", seed=0, status="finished", made=(), cost=None, **pins):
    return RunRecord(arm, seed, "", status, pins={**PINS, MADE: list(made), **pins}, cost=cost or {})


def test_equal_runs_pass():
    assert check_equal([record(), record(seed=1), record("a"), record("a", 1)]) == []
    assert check_equal([]) == []


@pytest.mark.parametrize(
    ("pin", "value", "line"),
    [
        ("train.max_iter", 500, "train.max_iter: 400 in baseline seed 0, 500 in a seed 1"),
        ("data.train", "bb", "data.train: aa in baseline seed 0, bb in a seed 1"),
        ("threads", 4, "threads: 2 in baseline seed 0, 4 in a seed 1"),
        ("version of torch", "2.14.1, then 2.15", "version of torch: 2.14.1 in baseline seed 0, 2.14.1, then 2.15 in"),
        ("evaluator", {"name": "pycocotools", "version": "2"}, "evaluator: {name=hotcoco, version=1.3.0} in baseline"),
        ("new pin", 1, "new pin: nothing in baseline seed 0, 1 in a seed 1"),
    ],
)
def test_each_difference_is_named_with_both_values(pin, value, line):
    with pytest.raises(ValueError, match="are not comparable") as error:
        check_equal([record(), record("a", 1, **{pin: value})])
    assert line in str(error.value)


def test_seeds_of_one_arm_are_held_against_each_other():
    with pytest.raises(ValueError, match="threads: 2 in a seed 0, 4 in a seed 1"):
        check_equal([record(), record("a"), record("a", 1, threads=4)])
    ours = [record("a", seed, made=["augment"], augment=value) for seed, value in enumerate(("mosaic", "copy-paste"))]
    with pytest.raises(ValueError, match="augment: mosaic in a seed 0, copy-paste in a seed 1"):
        check_equal([record(), *ours])


def test_failed_runs_do_not_count():
    assert check_equal([record(), record("a", status="failed", threads=9)]) == []


def test_a_remedys_own_part_and_other_machines_are_notes():
    own = {"sampler._target_": "imbdet.data.RepeatFactor", "sampler.max": 10.5}
    runs = [record("a", seed, made=list(own), cpu="AVX512", gpu="H100", **own) for seed in range(2)]
    assert check_equal([record(**{"sampler._target_": "imbdet.data.samplers.Uniform"}), *runs]) == [
        "cpu: nothing in baseline seed 0, AVX512 in a seed 0",
        "part of a: sampler Uniform -> RepeatFactor, sampler.max nothing -> 10.5",
    ]


def test_an_arm_is_held_against_the_arm_it_is_compared_with():
    """A remedy with a phase of its own trains as long as its control; that alone may train longer than the baseline."""
    arms = [Arm("baseline"), Arm("a", compared_with="longer"), Arm("longer", control_of="a")]
    longer = {"train.max_iter": 600, "iterations done": 600}
    shorter = {"iterations done": 400}
    runs = [record(**shorter), record("a", **longer), record("longer", **longer)]
    [note] = check_equal(runs, arms)
    assert note == "part of longer: train.max_iter 400 -> 600, iterations done 400 -> 600"
    with pytest.raises(ValueError, match="train.max_iter: 400 in baseline seed 0, 600 in a seed 0"):
        check_equal(runs[:2], [Arm("baseline"), Arm("a")])
    with pytest.raises(ValueError, match="optimizer.lr"):
        check_equal([*runs[:2], record("longer", **longer, **{"optimizer.lr": 1.0})], arms)


def test_a_time_budget_lets_iterations_differ_and_notes_where_time_does():
    timed = {"budget": "time"}
    runs = [record(cost={"seconds": 100.0}, **timed), record("a", cost={"seconds": 110.0}, **timed)]
    assert check_equal([runs[0], replace(runs[1], pins={**runs[1].pins, "train.max_iter": 250})]) == []
    notes = check_equal([runs[0], replace(runs[1], cost={"seconds": 140.0})])
    assert notes == ["training took 140 s in a seed 0 and 100 s in baseline seed 0: the time budget was missed"]


def test_pins_of_a_config_leave_out_what_no_number_depends_on():
    cfg = load_config(tiny(), (), ["dataloader.train.num_workers=0"])
    same = load_config(tiny(), (), ["dataloader.train.num_workers=3", "train.seed=4", "train.output_dir=x"])
    assert config_pins(cfg, "val") == config_pins(same, "val") and config_changes(cfg, same) == []
    for word in ("dataloader.val.batch_size=3", "lr_multiplier.warmup_length=3", "train.ema.enabled=true"):
        other = load_config(tiny(), (), [word])
        assert config_pins(cfg, "val") != config_pins(other, "val"), word
        assert config_changes(cfg, other)[0].startswith(word.partition("=")[0]), word


def test_only_slots_and_the_loader_are_a_remedys_to_change():
    base = load_config(tiny())
    words = ["dataloader.train.image_sampler=null", "dataloader.train.keep_empty=false", "optimizer.lr=1.0"]
    words += ["dataloader.train.batch_size=4", "train.max_iter=120"]
    cfg = load_config(tiny(), (), words)
    made = made_by_remedy(base, cfg, "val")
    assert all(key.startswith("dataloader.train.") for key in made)
    assert {key.split(".")[2] for key in made} == {"image_sampler", "keep_empty"}
    assert "train.max_iter" in made_by_remedy(base, cfg, "val", extra=100)
    assert "train.max_iter" not in made_by_remedy(base, cfg, "val", extra=99)


@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 5))])
def test_every_shipped_remedy_may_stand_beside_its_baseline(part):
    names = remedy_names()[part::5]
    assert len(names) > 10
    homes = {name: find_remedy(name).baseline for name in names}
    bases = {baseline: load_config(baseline) for baseline in set(homes.values())}
    pins = {baseline: config_pins(base, "test") for baseline, base in bases.items()}
    for name in names:
        base, cfg = bases[homes[name]], load(homes[name], name)
        before, after = pins[homes[name]], config_pins(cfg, "test")
        made = {*made_by_remedy(base, cfg, "test", extra_iterations(Arm(name, (name,)), base)), "split"}
        assert [key for key in before | after if before.get(key) != after.get(key) and key not in made] == [], name


def test_steps_of_an_adversary_are_no_iterations():
    """The budget is updates of the detector, so an adversary asks for none more than the baseline has."""
    base = load_config("baselines/faster_rcnn_shapes")
    for names in (("adversarial_spatial_dropout",), ("adversarial_spatial_dropout", "adversarial_spatial_transformer")):
        cfg = load_config("baselines/faster_rcnn_shapes", list(names))
        assert extra_iterations(Arm("", names), base) == 0 and cfg.train.max_iter == base.train.max_iter


def test_pins_of_real_runs(finished_grid):
    records = read_results(finished_grid)
    assert check_equal(records, tiny_plan(FOCAL).arms) == []
    pins = records[0].pins
    assert pins["train.max_iter"] == pins["iterations done"] == 20 and pins["threads"] == 1
    assert pins["evaluator"]["name"] == "hotcoco" and len(pins["data.train"]) == 16 and pins["split"] == "val"
    assert pins["version of torch"] and pins["dataloader.train.batch_size"] == 2
    assert Configs(tiny_plan(FOCAL)).of(FOCAL).remedies == ["focal_loss"]
    with pytest.raises(ValueError, match="data.train: "):
        check_equal([records[0], replace(records[1], pins={**records[1].pins, "data.train": "0"})])
