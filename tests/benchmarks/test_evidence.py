"""The grids of the evidence: what they name exists, their commands are commands, and what is kept is found again."""

import importlib.util

from benchmarks import evidence
from imbdet.commands.compare import _parser
from imbdet.config import find_config
from imbdet.config.remedy import find_remedy


def test_all_that_the_grids_name_is_there():
    for grid in evidence.GRIDS.values():
        find_config(f"{grid.config}_start")
        for arm in grid.arms:
            assert [find_remedy(name).name for name in arm.split("+")]


def test_a_command_is_one_that_compare_takes(tmp_path):
    for name, grid in evidence.GRIDS.items():
        args = _parser().parse_args(evidence.command(name, tmp_path, 2, "5", False))
        assert tuple(args.remedy) == grid.arms and args.out == str(tmp_path / name) and args.draw_data
        assert f"train.max_iter={grid.iterations}" in args.overrides
    words = evidence.command("background", tmp_path, 8, "5", True, ["train.max_iter=4"])
    assert "train.device=cuda" in words and words[-1] == "train.max_iter=4"


def test_starts_are_shared_by_grids_of_one_baseline(tmp_path):
    made = tmp_path / "class_ratio" / "init" / "start_seed_3.pth"
    made.parent.mkdir(parents=True)
    made.write_bytes(b"weights")
    assert evidence.share_starts("box_losses", tmp_path) == 1
    assert (tmp_path / "box_losses" / "init" / "start_seed_3.pth").read_bytes() == b"weights"
    assert evidence.share_starts("box_losses", tmp_path) == 0 and evidence.share_starts("background", tmp_path) == 0


def test_what_a_grid_is_judged_by_is_carried(tmp_path):
    source = tmp_path / "work"
    (source / "kept").mkdir(parents=True)
    (source / "runs").mkdir()
    for part in ("plan.json", "kept/a.json", "runs/last.pth"):
        (source / part).write_text(part)
    evidence.carry(source, tmp_path / "kept_here")
    found = {path.relative_to(tmp_path / "kept_here").as_posix() for path in (tmp_path / "kept_here").rglob("*.*")}
    assert found == {"plan.json", "kept/a.json"}
    assert (tmp_path / "kept_here" / "plan.json").read_text() == "plan.json"


HEAD = "arm,control_of,seeds,metric,difference,low,high,verdict"


def test_what_diagnose_says_is_what_the_reports_say(tmp_path):
    rows = [
        "baseline,,2,APr,,,,",
        "class_weights,,2,APr,0.012,-0.03,0.0541,no evidence",
        "class_weights,,2,AP,0.5,0.4,0.6,better",  # not the primary metric
        "class_targeted_copy_paste,x,2,APr,0.1,0.05,0.2,better",  # a control
        "class_weights+seesaw,,2,APr,0.1,0.05,0.2,better",  # of several
        "seesaw,,1,APr,0.1,,,one seed: no claim",
    ]
    (tmp_path / "class_ratio").mkdir()
    (tmp_path / "class_ratio" / "report.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    assert evidence.findings(tmp_path) == {
        "class_weights": ["shapes, classes 50 to 1: APr +1.2 (-3.0 to +5.4, 2 seeds), no evidence"]
    }
    (tmp_path / "class_ratio" / "report.md").write_text("twice the iterations would add 9 AP: " + evidence.SPEED)
    assert evidence.findings(tmp_path)["class_weights"][0].endswith("no evidence (the baseline was still learning)")
    evidence.write_findings(tmp_path, tmp_path / "found.py")
    spec = importlib.util.spec_from_file_location("found", tmp_path / "found.py")
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    assert module.EVIDENCE["class_weights"].startswith("shapes, classes 50 to 1: APr +1.2")


def test_the_shipped_evidence_is_that_of_docs_results(tmp_path):
    evidence.write_findings(evidence.RESULTS, tmp_path / "now.py")
    assert (tmp_path / "now.py").read_text() == evidence.FOUND.read_text()
