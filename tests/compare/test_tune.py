"""Equal tuning: the same number of tries for every arm, the best by the primary metric, and what is said of it."""

from dataclasses import replace

import pytest

from imbdet.compare.plan import parse_tune
from imbdet.compare.probe import SEED, TUNING, tries_of, tune, tuning_notes, tuning_plan
from imbdet.compare.results import append_result
from imbdet.compare.structures import Arm, Configs, RunRecord, run_folder

from .conftest import FOCAL, tiny_plan

CONTROL = Arm("baseline (loss scale of focal_loss)", control_of="focal_loss")
LONGER = Arm("baseline (5 more iterations)", overrides=("train.max_iter=25",), control_of="x")
#: AP of the tries by arm and value
AP = {("baseline", "0.1"): 0.2, ("baseline", "0.2"): 0.3, ("focal_loss", "0.1"): 0.5, ("focal_loss", "0.2"): None}


def grid_of(asked):
    def run(plan, root):
        records = []
        for arm in plan.arms:
            asked.append(arm.name)
            ap = AP[arm.control_of, arm.overrides[-1].rpartition("=")[2]]
            status = "finished" if ap else "failed"
            record = RunRecord(arm.name, SEED, run_folder(arm.name, SEED), status, metrics={"AP": ap})
            record.cost["seconds"] = 60.0
            append_result(root, record)
            records.append(record)
        return records

    return run


def test_every_arm_gets_its_best_try_and_controls_that_of_the_baseline(tmp_path):
    plan, asked, said = tiny_plan(FOCAL, CONTROL, LONGER, tune=("optimizer.lr=0.1,0.2",)), [], []
    tuned = tune(plan, tmp_path, grid_of(asked), said.append)
    assert len(asked) == 4 and asked[0] == "baseline [optimizer.lr=0.1]"
    assert [arm.overrides for arm in tuned.arms] == [
        ("optimizer.lr=0.2",),
        ("optimizer.lr=0.1",),
        (),  # it gets its overrides when it is matched
        ("train.max_iter=25", "optimizer.lr=0.2"),
    ]
    assert [bool(arm.tuned) for arm in tuned.arms] == [True, True, False, True] and tuned.tuned_keys() == [
        "optimizer.lr"
    ]
    assert Configs(tuned).of(tuned.arms[0]).optimizer.lr == 0.2
    notes = tuning_notes(tuned, tmp_path)
    assert notes[0] == (
        f"baseline was tuned by AP on val, seed {SEED}: optimizer.lr=0.1 20.0, optimizer.lr=0.2 30.0 (chosen); 2 runs, "
        "2.0 min of training"
    )
    assert "optimizer.lr=0.1 50.0 (chosen), optimizer.lr=0.2 failed" in notes[1] and len(notes) == 2
    assert tune(tuned, tmp_path, grid_of(asked), said.append) == tuned and len(asked) == 4  # once
    assert tuning_notes(plan, tmp_path / "other") == [] and (tmp_path / TUNING / "plan.json").is_file()


def test_tries_that_all_failed_end_the_comparison(tmp_path):
    plan = tiny_plan(FOCAL, tune=("optimizer.lr=0.2,0.3",))

    def run(tries, root):
        return [RunRecord(arm.name, SEED, "", "failed", "diverged: no number") for arm in tries.arms]

    with pytest.raises(ValueError, match="all 2 tries of baseline failed: diverged: no number"):
        tune(plan, tmp_path, run, print)


def test_a_key_that_is_not_there_is_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match="unknown key 'optimizer.rate'"):
        tuning_plan(tiny_plan(FOCAL, tune=("optimizer.rate=0.1,0.2",)))


def test_all_combinations_of_two_keys_and_the_defaults(monkeypatch):
    plan = tiny_plan(FOCAL, tune=("optimizer.lr=0.1,0.2", "train.x=1,2,3"))
    configs = Configs(plan)
    found = tries_of(FOCAL, plan, configs)
    assert len(found) == 6 and found[1] == ("optimizer.lr=0.1", "train.x=2")
    auto = replace(plan, tune=("auto",))
    rate = configs.base.optimizer.lr
    rates = [(f"optimizer.lr={factor * rate:.4g}",) for factor in (1, 0.4, 2.5)]
    for arm, loss in ((FOCAL, "classification"), (plan.arms[0], "regression")):  # what it changes, else the box loss
        weights = [(f"model.criterion.{loss}_weight={factor:.4g}",) for factor in (0.4, 2.5)]
        assert tries_of(arm, auto, configs) == [*rates, *weights]
        assert all(configs.of(replace(arm, overrides=words)) is not None for words in weights)
    other = configs.base.copy()  # a criterion of another kind may have no such weight
    other.model.criterion._target_ = "imbdet.modeling.criterion.Other"
    monkeypatch.setattr(configs, "of", lambda arm: other)
    assert [word.partition("=")[0] for (word,) in tries_of(Arm("own"), auto, configs)] == ["optimizer.lr"] * 5
    assert tuning_plan(replace(plan, tune=())).arms == ()
    assert tuning_plan(auto).split == "val" and tuning_plan(auto).seeds == (SEED,)


@pytest.mark.parametrize("word", ["optimizer.lr", "optimizer.lr=0.1", "=1,2"])
def test_words_that_tune_nothing(word):
    with pytest.raises(ValueError, match="write KEY=V1,V2,V3 with two values or more"):
        parse_tune([word])
