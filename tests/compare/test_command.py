"""The verb: what it refuses, what it prints."""

import json
import os

import pytest

from imbdet.commands import parse, run
from imbdet.commands.compare import _parser
from imbdet.compare.results import append_result, read_plan
from imbdet.compare.structures import Arm, ArmResult, Comparison, RunRecord
from imbdet.evaluation.significance import Difference
from imbdet.report.comparison import terminal

from .conftest import COST, tiny

WORDS = ["--config", tiny(), "--remedy", "focal_loss"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --config BASE and what to compare with it, or --runs"),
        ([*WORDS, "--imbalance", "scale"], "--imbalance goes with --all"),
        ([*WORDS, "--jobs", "0"], "--jobs is 0; it must be 1 or more"),
        ([*WORDS, "--cpus-per-run", "0"], "--cpus-per-run is 0; it must be 1 or more"),
        ([*WORDS, "--gpus-per-run", "2"], "a run is one process, which uses at most one GPU"),
        (["--runs", "a", "--remedy", "x"], "--remedy has no meaning with --runs, which trains nothing"),
        (["--runs", "a", "--retry-failed"], "--retry-failed has no meaning with --runs"),
        (["--runs", "a", "--seeds", "3"], "--seeds has no meaning with --runs"),
        (["--runs", "a", "train.seed=1", "b"], "key=value has no meaning with --runs"),
        ([*WORDS, "--start-keeps", "train.seed=1"], "--start-keeps: expected at least one argument that is not key="),
    ],
)
def test_words_that_do_not_go_together(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        run("compare", ["--out", str(tmp_path / "out"), *words])
    assert left.value.code == 2 and message in capsys.readouterr().err


def test_options_of_several_words_leave_overrides_alone(tmp_path, monkeypatch):
    """In the order they came in, as the later one counts; a file that exists is no override whatever its name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    words = ["train.seed=1", "--start-keeps", "neck.*", "train.seed=2", "rpn.*", "--out", "o", "train.seed=1", "a.b=c"]
    args = parse(_parser(), [*words, "--runs", "a=b", "c", "train.seed=3", "--print"])
    assert args.start_keeps == ["neck.*", "rpn.*"] and args.runs == ["a=b", "c"] and args.plan_only
    assert args.overrides == ["train.seed=2", "train.seed=1", "train.seed=1", "a.b=c", "train.seed=3"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--config", tiny(), "--remedy", "focal_los"], "unknown remedy 'focal_los'; did you mean 'focal_loss'?"),
        (["--config", "baselines/retina", "--all"], "config 'baselines/retina' exists neither"),
        ([*WORDS, "--seeds", "none"], "--seeds is 'none'; give how many (5), or which"),
        (["--runs", "nowhere"], "no run at nowhere"),
    ],
)
def test_a_mistake_is_one_line(words, line, tmp_path, capsys):
    assert run("compare", ["--out", str(tmp_path / "out"), *words]) == 2
    err = capsys.readouterr().err
    assert line in err and err.count("\n") == 1


def test_the_plan_is_printed_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("imbdet.compare.probe.probe", lambda plan, arm: dict(COST))
    words = [*WORDS, "--seeds", "3", "--out", str(tmp_path / "out"), "--print"]
    assert run("compare", words) == 0
    out = capsys.readouterr().out
    assert "runs: 9, of which 0 are done" in out and "baseline (loss scale of focal_loss)  control of" in out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ([], "5"),
        (["--gpus-per-run", "0"], ""),
        (["--engine", "ray"], ""),
        (["--engine", "ray", "--gpus-per-run", "1"], "5"),
    ],
)
def test_what_is_measured_for_the_plan_sees_the_gpus_that_runs_get(tmp_path, monkeypatch, words, seen):
    found = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.setattr("imbdet.compare.compare", lambda *_: found.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    run("compare", [*WORDS, "--out", str(tmp_path), "--plan-only", *words])
    assert found == [seen] and os.environ["CUDA_VISIBLE_DEVICES"] == "5"


def folder_with(tmp_path, *records):
    """A grid of one seed whose cells have all ended, and its command's words."""
    root = tmp_path / "out"
    root.mkdir()
    (root / "probe.json").write_text(json.dumps(COST))
    for record in records:
        append_result(root, record)
    return root, [*WORDS, "--seeds", "1", "--no-controls", "--out", str(root)]


def test_a_grid_that_is_done_is_reported(tmp_path, reports, capsys):
    failed = RunRecord("focal_loss", 0, "runs/focal_loss/seed_0", "failed", "diverged: nan")
    root, words = folder_with(tmp_path, RunRecord("baseline", 0, "runs/baseline/seed_0", "finished"), failed)
    assert run("compare", words) == 0
    out = capsys.readouterr().out
    assert "failed: focal_loss seed 0: diverged: nan" in out and f"{root}/report.md" in out
    assert "+1.20   -1.00 to +3.40  no evidence" in out and f"tensorboard --logdir {root}/tb" in out
    plan, records, where = reports[0]
    assert plan == read_plan(root) and len(records) == 2 and where == root


def test_without_a_baseline_there_is_no_report(tmp_path, reports, capsys):
    rows = [RunRecord(arm, 0, "", "failed", "out of memory: x") for arm in ("baseline", "focal_loss")]
    _, words = folder_with(tmp_path, *rows)
    assert run("compare", words) == 1 and not reports
    assert "no run of the baseline has finished" in capsys.readouterr().err


def test_unequal_runs_are_not_reported(tmp_path, reports, capsys):
    rows = [RunRecord(a, 0, "", "finished", pins={"threads": n}) for a, n in (("baseline", 2), ("focal_loss", 4))]
    _, words = folder_with(tmp_path, *rows)
    assert run("compare", words) == 2 and not reports
    assert "threads: 2 in baseline seed 0, 4 in focal_loss seed 0" in capsys.readouterr().err


def test_the_table_by_hand():
    ap = Difference("AP", -0.0123, None, None, None, None, None, None, None, "one seed: no claim")
    arms = [
        ArmResult(Arm("baseline"), seeds=[0], means={"AP": 0.25}, deviations={"AP": None}),
        ArmResult(Arm("a"), seeds=[0], failures=[(1, "nan")], means={"AP": 0.2377}, differences={"AP": ap}),
    ]
    lines = terminal(Comparison("", "", arms, [0])).splitlines()
    assert lines[2].split() == ["baseline", "1", "25.00", "–", "–", "the", "baseline"]
    assert lines[3].split() == ["a", "1", "(1", "failed)", "23.77", "-1.23", "–", "one", "seed:", "no", "claim"]


def test_ray_that_is_not_installed_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    _, words = folder_with(tmp_path)
    assert run("compare", [*words, "--engine", "ray"]) == 2
    assert "--engine ray needs Ray: pip install 'imbdet[sweep]'" in capsys.readouterr().err
