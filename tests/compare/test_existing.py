"""`--runs`: a comparison made of runs that are there already."""

import os
import shutil

import pytest

import imbdet
from imbdet.commands import run
from imbdet.compare.existing import collect_runs
from imbdet.compare.fairness import check_equal
from imbdet.compare.judge import compare_runs
from imbdet.compare.results import read_plan, read_results, write_plan
from imbdet.config import load_config, save_config
from imbdet.engine.checkpoint import load_file
from imbdet.runs import DETECTIONS

from .conftest import remedy_file, tiny


def train_run(folder, remedies=(), *overrides):
    cfg = load_config(tiny(), remedies, ["train.max_iter=2", f"train.output_dir={folder}", *overrides])
    imbdet.train(cfg)
    return str(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of the baseline and one of focal loss, as `imbdet train` leaves them; 2 iterations each."""
    root = tmp_path_factory.mktemp("runs")
    return [
        train_run(root / "focal", ["focal_loss"]),
        train_run(root / "plain"),
        train_run(root / "plain_1", (), "train.seed=1"),
    ]


@pytest.fixture
def copied(runs, tmp_path):
    """The same runs, to be changed."""
    return [shutil.copytree(folder, tmp_path / folder.rsplit("/", 1)[1]) for folder in runs]


def test_runs_become_arms_by_their_remedies(runs, tmp_path, capsys):
    plan, records = collect_runs(runs, tmp_path)
    assert [arm.name for arm in plan.arms] == ["baseline", "focal_loss"] and plan.seeds == (0, 1)
    assert plan.config == runs[1] and plan.overrides == () and plan.split == "val"
    assert [(r.arm, r.seed, r.folder, r.status) for r in records] == [
        ("focal_loss", 0, runs[0], "finished"),
        ("baseline", 0, runs[1], "finished"),
        ("baseline", 1, runs[2], "finished"),
    ]
    assert all((tmp_path / r.folder / DETECTIONS).is_file() and "AP" in r.metrics for r in records)
    assert check_equal(records, plan.arms) == []
    # named after no folder such as seed_0
    assert compare_runs(plan, records, tmp_path, draws=10).title == "Remedies compared"
    said = capsys.readouterr().out
    again = collect_runs(runs, tmp_path)  # their records serve
    assert again == (plan, records) and said.count("evaluating the last weights") <= 3
    assert "evaluating" not in capsys.readouterr().out


def test_single_runs_of_a_grid(finished_grid, tmp_path):
    grid = tmp_path / "grid"
    shutil.copytree(finished_grid, grid, symlinks=True)
    folders = [str(grid / "runs" / arm / "seed_0") for arm in ("baseline", "focal_loss")]
    for folder in folders:  # newer than the weights, as the grid leaves it
        os.utime(os.path.join(folder, "record.json"))
    _, records = collect_runs(folders, tmp_path / "out")
    assert [record.folder for record in records] == folders


def test_a_folder_inside_is_named_from_there(copied, tmp_path):
    _, records = collect_runs(list(map(str, copied)), tmp_path)
    assert {r.folder for r in records} == {"focal", "plain", "plain_1"}


def test_unfinished_runs_are_refused(copied, tmp_path):
    cfg = load_config(copied[0])
    cfg.train.max_iter = 50
    save_config(cfg, copied[0] / "config.yaml")
    with pytest.raises(ValueError, match="focal has done 2 of its 50 iterations: finish it first, with --resume"):
        collect_runs(list(map(str, copied)), tmp_path)


def test_another_budget_is_refused_with_both_values(runs, tmp_path):
    longer = train_run(tmp_path / "longer", ["focal_loss"], "train.max_iter=3", "optimizer.lr=0.5")
    plan, records = collect_runs([runs[1], longer], tmp_path)
    with pytest.raises(ValueError) as error:
        check_equal(records, plan.arms)
    assert "optimizer.lr: 0.002 in baseline seed 0, 0.5 in focal_loss seed 0" in str(error.value)
    assert "iterations done: 2 in baseline seed 0, 3 in focal_loss seed 0" in str(error.value)


def test_the_same_remedies_with_another_config_are_an_arm_of_their_own(runs, tmp_path):
    other = train_run(tmp_path / "sharper", ["focal_loss"], "model.criterion.classification.gamma=5.0")
    plan, records = collect_runs([*runs, other], tmp_path)
    assert [arm.name for arm in plan.arms] == ["baseline", "focal_loss", "focal_loss (sharper)"]
    assert records[-1].arm == "focal_loss (sharper)"


def test_an_image_sampler_is_known_to_be_the_remedys(runs, tmp_path, monkeypatch):
    """A remedy file that is there and trusted tells which differences are its own; one that is gone does not."""
    path = remedy_file(tmp_path, "flips", "cfg.dataloader.train.augment.transforms[0].vertical = 0.0")
    run = train_run(tmp_path / "flipped", [str(path)])
    monkeypatch.setenv("IMBDET_TRUST", f"tests:{path}")
    plan, records = collect_runs([runs[1], run], tmp_path)
    assert plan.arms[1].name == "flips"
    assert any("augment" in note and note.startswith("part of ") for note in check_equal(records, plan.arms))
    path.unlink()
    plan, records = collect_runs([runs[1], run], tmp_path)
    with pytest.raises(ValueError, match="dataloader.train.augment"):
        check_equal(records, plan.arms)


def test_a_comparison_is_taken_as_it_is(finished_grid, tmp_path):
    plan, records = collect_runs([str(finished_grid)], tmp_path)
    made = read_plan(finished_grid)
    assert plan == made and [r.arm for r in records] == ["baseline", "focal_loss"]
    assert [r.folder for r in records] == [str(finished_grid / r.folder) for r in read_results(finished_grid)]
    assert check_equal(records, plan.arms) == []


def test_a_comparison_whose_config_is_gone_falls_back_on_what_it_kept(finished_grid, tmp_path):
    root = shutil.copytree(finished_grid, tmp_path / "grid", symlinks=True)
    plan = read_plan(root)
    write_plan(type(plan)(**{**vars(plan), "config": "no/such/config"}), root)
    found, _ = collect_runs([str(root)], tmp_path)
    assert found.config == str(root / "base.yaml") and found.overrides == ()


def test_cells_of_a_grid_are_runs_too(finished_grid, tmp_path):
    folders = [str(finished_grid / "runs" / arm / "seed_0") for arm in ("baseline", "focal_loss")]
    plan, records = collect_runs(folders, tmp_path)
    assert [arm.name for arm in plan.arms] == ["baseline", "focal_loss"]
    assert [r.metrics for r in records] == [r.metrics for r in read_results(finished_grid)]


def test_the_verb_reports_on_runs_and_keeps_what_it_was_made_of(runs, finished_grid, tmp_path, reports, capsys):
    out = tmp_path / "out"
    assert run("compare", ["--runs", *runs, "--out", str(out)]) == 0
    assert reports[0][1] == read_results(out) and reports[0][0] == read_plan(out)
    assert f"{out}/report.md" in capsys.readouterr().out
    assert run("compare", ["--runs", str(out), "--out", str(tmp_path / "again")]) == 0  # it is a comparison itself
    assert [r.metrics for r in reports[1][1]] == [r.metrics for r in reports[0][1]]


def test_a_grid_keeps_its_own_plan_and_results(runs, finished_grid, tmp_path, reports, capsys):
    grid = shutil.copytree(finished_grid, tmp_path / "grid", symlinks=True)
    before = (grid / "plan.json").read_text(), (grid / "results.jsonl").read_text()
    assert run("compare", ["--runs", str(grid), "--out", str(grid)]) == 0
    assert (grid / "report.md").is_file()
    assert run("compare", ["--runs", *runs, "--out", str(grid)]) == 2
    assert "holds a grid of its own" in capsys.readouterr().err
    assert ((grid / "plan.json").read_text(), (grid / "results.jsonl").read_text()) == before


def test_what_cannot_be_compared(runs, finished_grid, tmp_path):
    with pytest.raises(ValueError, match=r"none of these runs \(focal_loss\) is a baseline"):
        collect_runs(runs[:1], tmp_path)
    with pytest.raises(ValueError, match="baseline with seed 0 occurs twice: in"):
        copy = shutil.copytree(runs[1], tmp_path / "copy")
        collect_runs([runs[1], str(copy)], tmp_path)
    with pytest.raises(FileNotFoundError, match="no run at"):
        collect_runs([str(tmp_path / "nowhere")], tmp_path)
    with pytest.raises(ValueError, match="was evaluated on split val, this comparison is on test; give --split val"):
        collect_runs([str(finished_grid)], tmp_path, split="test")
    empty = tmp_path / "empty"
    empty.mkdir()
    write_plan(read_plan(finished_grid), empty)
    with pytest.raises(ValueError, match="is a comparison in which no run has ended yet"):
        collect_runs([str(empty)], tmp_path)
    assert load_file(f"{runs[0]}/last.pth")["iteration"] == 2
