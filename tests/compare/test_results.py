import json
import multiprocessing

import pytest

from imbdet.compare.results import (
    append_result,
    as_record,
    locked,
    pilot_sd,
    read_plan,
    read_results,
    write_plan,
    write_results,
)
from imbdet.compare.structures import Arm, Plan, RunRecord, folder_name, run_folder

PLAN = Plan(
    "base",
    (Arm("baseline"), Arm("a+b", ("a", "b"), ("train.max_iter=3",), compared_with="c"), Arm("c", control_of="a+b")),
    (0, 3),
    ("x=1",),
)


def record(arm="baseline", seed=0, **more):
    return RunRecord(arm, seed, run_folder(arm, seed), more.pop("status", "finished"), **more)


def test_folders_are_plain():
    assert folder_name("baseline (loss scale of a+b)") == "baseline_loss_scale_of_a+b"
    assert run_folder("class_fg_bg/focal loss", 3) == "runs/class_fg_bg_focal_loss/seed_3"


def test_a_plan_comes_back(tmp_path):
    write_plan(PLAN, tmp_path)
    assert read_plan(tmp_path) == PLAN
    assert PLAN.cells()[:3] == [("baseline", 0), ("a+b", 0), ("c", 0)] and len(PLAN.cells()) == 6


def test_a_plan_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a comparison"):
        read_plan(tmp_path)
    (tmp_path / "plan.json").write_text('{"config": "x"}')
    with pytest.raises(ValueError, match="is not a plan that imbdet compare wrote"):
        read_plan(tmp_path)


def test_a_line_that_a_kill_has_cut_is_dropped_and_the_next_one_stands_alone(tmp_path):
    append_result(tmp_path, record(metrics={"AP": 0.1}))
    whole = (tmp_path / "results.jsonl").read_text()
    (tmp_path / "results.jsonl").write_text(whole + '{"arm": "a", "se')
    assert [r.arm for r in read_results(tmp_path)] == ["baseline"]
    append_result(tmp_path, record("a"))
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["arm"] for line in lines] == ["baseline", "a"]


def test_a_spoilt_line_in_the_middle_is_named(tmp_path):
    (tmp_path / "results.jsonl").write_text('{"arm": 1}\n{}\n')
    with pytest.raises(ValueError, match="results.jsonl, line 1 is not a record"):
        read_results(tmp_path)


def test_the_later_line_of_a_cell_counts(tmp_path):
    write_results(tmp_path, [record(status="failed", reason="x"), record("a"), record()])
    assert [(r.arm, r.status) for r in read_results(tmp_path)] == [("a", "finished"), ("baseline", "finished")]


def _hold(path, ready, go):
    with locked(path, 0, "busy"):
        ready.set()
        go.wait(60)


def test_two_processes_never_hold_one_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / ".lock", ready, go))
    other.start()
    assert ready.wait(60)
    with pytest.raises(ValueError, match="busy"):
        with locked(tmp_path / ".lock", 0.1, "busy"):
            pass
    other.kill()  # the system frees the lock, however its holder dies
    other.join()
    with locked(tmp_path / ".lock", 5, "busy"):
        pass


@pytest.mark.parametrize(
    "row", [{"AP": 0.5}, {"name": "disc"}, {"name": "disc", "AP": "high"}, {"name": 3, "AP": None}]
)
def test_a_row_of_a_class_has_its_name_and_its_ap(row):
    values = {"arm": "baseline", "seed": 0, "folder": ".", "status": "finished", "per_class": [row]}
    with pytest.raises(ValueError, match=r"per_class\[0\] is .*; expected a name, and AP as a number or null"):
        as_record(values)
    assert as_record({**values, "per_class": [{"name": "disc", "AP": None}]}).per_class[0]["name"] == "disc"


@pytest.mark.parametrize("text", [b"a,b\n1,2\n", b"arm,seed,metric,value\na,x,AP,1\n", b"\xff\xfe"])
def test_a_pilot_that_is_no_table_of_runs(tmp_path, text):
    (tmp_path / "some.csv").write_bytes(text)
    with pytest.raises(ValueError, match="--pilot .*some.csv: a runs.csv has the columns arm, seed, metric and value"):
        pilot_sd(tmp_path / "some.csv", "AP")
    with pytest.raises(FileNotFoundError, match="other.jsonl is no results.jsonl or runs.csv of a comparison"):
        pilot_sd(tmp_path / "other.jsonl", "AP")
