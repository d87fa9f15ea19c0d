"""From the command line's words to a plan, and what is refused before anything runs."""

import os
from dataclasses import replace

import pytest

from imbdet.compare.fairness import extra_iterations
from imbdet.compare.notes import describe_plan
from imbdet.compare.plan import home_grids, make_plan, parse_seeds, with_time_budget
from imbdet.compare.probe import tuning_plan, unmatched
from imbdet.compare.results import append_result, keep_base, pilot_sd, read_plan, read_results, write_plan
from imbdet.compare.run import run_cell
from imbdet.compare.structures import Arm, Request, RunRecord, arm_config, base_config, iterations_of, run_folder
from imbdet.config import save_config
from imbdet.evaluation.noise import detectable

from .conftest import BASE, COST, FOCAL, begin, remedy_file, tiny, tiny_plan

BODY = "cfg.dataloader.train.augment.transforms[0].vertical = 0.25"
ASKED = Request(tiny(), ("focal_loss",), seeds=(0, 1), controls=False)


def names(plan):
    return [arm.name for arm in plan.arms]


def plan_of(tmp_path, **changes):
    return make_plan(replace(ASKED, **changes), tmp_path / "out")[0]


@pytest.mark.parametrize(("text", "seeds"), [("3", (0, 1, 2)), ("0,3,7", (0, 3, 7)), ("7,", (7,)), ("2,2,0", (2, 0))])
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1,x", "-1,2", "1.5"])
def test_seeds_that_are_none(text):
    with pytest.raises(ValueError, match="--seeds is .*; give how many"):
        parse_seeds(text)


def test_arms_seeds_and_a_loss_scale_control(tmp_path):
    plan = plan_of(tmp_path, controls=True)
    assert names(plan) == ["baseline", "focal_loss", "baseline (loss scale of focal_loss)"]
    control = plan.arms[2]
    assert control.control_of == "focal_loss" and not control.remedies and not control.overrides
    assert plan.seeds == (0, 1) and plan.config == tiny() and not (tmp_path / "out").exists()
    assert names(plan_of(tmp_path)) == ["baseline", "focal_loss"]


def test_arms_that_declare_themselves_controls(tmp_path):
    """Each is a control of the arm without it, of the baseline where there is none, has no control of its own, and is
    tuned as any other arm."""
    own = str(remedy_file(tmp_path, "quieter", BODY, "control = True\n"))
    asked = ("focal_loss", "focal_loss+" + own, own, "ohem+" + own)
    asked = plan_of(tmp_path, remedies=asked, controls=True, tune=("auto",), primary="AP")
    controls = {arm.name: arm.control_of for arm in asked.arms if arm.control_of}
    assert controls == {
        "baseline (loss scale of focal_loss)": "focal_loss",
        "focal_loss+quieter": "focal_loss",
        "quieter": "baseline",
        "ohem+quieter": "baseline",
    }
    tried = {arm.control_of for arm in tuning_plan(asked).arms}
    assert tried == {"baseline", "focal_loss", "focal_loss+quieter", "quieter", "ohem+quieter"}
    text = describe_plan(replace(asked, tune=()), [], tmp_path, COST, 1)
    assert "focal_loss+quieter                   control of focal_loss\n" in text and unmatched(asked) == [
        asked.arms[2]
    ]
    alone = replace(asked, seeds=(0, 1), arms=(asked.arms[0], asked.arm("quieter")))
    assert "can find: nothing" in describe_plan(replace(alone, tune=()), [], tmp_path, COST, 1)
    begin(alone, tmp_path / "out")  # a later arm is the one that it is a control of
    assert plan_of(tmp_path, remedies=("ohem", "ohem+" + own), tune=("auto",)).arm("ohem+quieter").control_of == "ohem"


def test_a_plan_that_names_controls_as_files_of_a_checkout_goes_on(tmp_path):
    old = Arm("focal_loss+per_foreground", ("focal_loss", "/a/place/docs/results/controls/per_foreground.py"))
    root = begin(tiny_plan(FOCAL, old), tmp_path / "out")
    plan = plan_of(tmp_path, remedies=("focal_loss+controls/per_foreground",))
    assert names(plan) == ["baseline", "focal_loss", old.name] and plan.arms[2].control_of == "focal_loss"
    assert (
        plan.arms[2].remedies == ("focal_loss", "controls/per_foreground") and read_plan(root).arms[2].control_of == ""
    )
    append_result(root, RunRecord(old.name, 0, "runs/x", "finished", remedies=list(old.remedies)))
    assert read_results(root)[0].remedies == ["focal_loss", "controls/per_foreground"]


def test_the_primary_metric_goes_by_the_imbalance_is_kept_and_cannot_be_chosen_later(tmp_path):
    assert plan_of(tmp_path).primary == "AP"
    assert plan_of(tmp_path, remedies=("class_weights",)).primary == "APr"
    assert plan_of(tmp_path, remedies=("giou_loss",)).primary == "AP90"
    assert plan_of(tmp_path, remedies=("giou_loss", "class_weights")).primary == "AP"
    named = plan_of(tmp_path, primary="AP75")
    assert named.primary == "AP75"
    begin(named, tmp_path / "out")
    with pytest.raises(ValueError, match="--draw-data is given, but this comparison was begun without; choose another"):
        plan_of(tmp_path, draw_data=True)
    with pytest.raises(ValueError, match="--tune is auto, but this comparison was begun with none"):
        plan_of(tmp_path, tune=("auto",))
    assert plan_of(tmp_path, remedies=("class_weights",)).primary == "AP75"
    with pytest.raises(ValueError, match="--primary is APr, but this comparison was begun with AP75"):
        plan_of(tmp_path, primary="APr")
    with pytest.raises(ValueError, match="--primary is 'mAP'; it must be one of AP, AP50"):
        make_plan(replace(ASKED, primary="mAP"), tmp_path / "other")


def test_what_the_grid_can_find_by_a_pilot(tmp_path):
    """Residuals of [[30, 34], [31, 33]] points about arm and seed are 0.5 each: sd 1."""
    text = "arm,seed,status,metric,value,reason\n"
    for arm, seed, value in (("baseline", 0, 0.30), ("baseline", 1, 0.34), ("x", 0, 0.31), ("x", 1, 0.33)):
        text += f"{arm},{seed},finished,AP,{value},\n"
    (tmp_path / "runs.csv").write_text(text)
    plan = plan_of(tmp_path, pilot=str(tmp_path / "runs.csv"))
    assert plan.sd == pytest.approx(0.01)
    found = 100 * detectable(2, 1, 0.01)
    words = describe_plan(plan, [], tmp_path, COST, 1)
    assert f"can find: a difference of {found:.1f} points of AP with 80 % power" in words
    guess = describe_plan(plan_of(tmp_path), [], tmp_path, COST, 1)
    assert "sd of a run 2.00 (a guess" in guess
    with pytest.raises(ValueError, match="less than two arms with AP90"):
        pilot_sd(tmp_path / "runs.csv", "AP90")
    with pytest.raises(FileNotFoundError, match="no results.jsonl or runs.csv"):
        pilot_sd(tmp_path / "none.csv", "AP")


def test_two_remedies_in_one_arm(tmp_path):
    clip = remedy_file(tmp_path, "flips", "cfg.dataloader.train.augment.transforms[0].vertical = 0.0")
    plan = plan_of(tmp_path, remedies=(f"focal_loss+{clip}", str(clip)))
    assert names(plan) == ["baseline", "focal_loss+flips", "flips"]
    assert plan.arms[1].remedies == ("focal_loss", str(clip))
    assert arm_config(plan, plan.arms[1]).dataloader.train.augment.transforms[0].vertical == 0.0
    with pytest.raises(ValueError, match="a name is missing"):
        plan_of(tmp_path, remedies=("focal_loss+",))


def test_an_unknown_remedy_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="unknown remedy 'focal_los'; did you mean 'focal_loss'"):
        plan_of(tmp_path, remedies=("focal_los",))


def test_a_remedy_that_does_not_fit_is_refused_by_name(tmp_path):
    stage = remedy_file(tmp_path, "stage", "cfg.model.roi_heads.box_head.widths = [8]")
    with pytest.raises(ValueError, match=r"remedy '.*stage.py' needs the slot roi_heads"):
        plan_of(tmp_path, remedies=(str(stage),))


def test_all_leaves_out_what_does_not_fit_and_says_so(tmp_path, monkeypatch):
    stage = remedy_file(tmp_path, "stage", "cfg.model.roi_heads.box_head.widths = [8]")
    same = remedy_file(tmp_path, "same", "cfg.model.convs = cfg.model.convs")
    monkeypatch.setattr("imbdet.compare.plan.remedy_names", lambda: ["class_fg_bg/focal_loss", str(stage), str(same)])
    plan, notes = make_plan(replace(ASKED, remedies=(), every=True), tmp_path / "out")
    assert names(plan) == ["baseline", "focal_loss"]
    assert notes[1].startswith("left out: same: remedy ") and "changes nothing in config" in notes[1]
    assert len(notes) == 2 and notes[0].startswith("left out: stage: remedy ")
    plan, notes = make_plan(replace(ASKED, remedies=(), every=True, imbalance="class_fg_bg"), tmp_path / "out")
    assert names(plan) == ["baseline", "focal_loss"] and not notes
    monkeypatch.undo()
    with pytest.raises(
        ValueError, match="--imbalance scael: there is no such remedy for .*; imbalances are class_fg_bg"
    ):
        make_plan(replace(ASKED, remedies=(), every=True, imbalance="scael"), tmp_path / "out")


def test_all_puts_each_remedy_on_its_home_detector(tmp_path, monkeypatch):
    monkeypatch.setattr("imbdet.compare.plan.remedy_names", lambda: ["class_fg_bg/focal_loss", "class_fg_bg/ohem"])
    assert home_grids("baselines/faster_rcnn_shapes") == ["baselines/faster_rcnn_shapes", "baselines/retinanet_shapes"]
    assert home_grids(tiny()) == [tiny()]
    found = {}
    for base in home_grids("baselines/retinanet_shapes"):
        request = Request(base, every=True, imbalance="class_fg_bg", controls=False)
        found[base] = names(make_plan(request, tmp_path / "out")[0])[1:]
    assert list(found.values()) == [["focal_loss"], ["ohem"]]


def test_nothing_to_compare(tmp_path):
    with pytest.raises(ValueError, match="nothing to compare with the baseline: give --remedy"):
        plan_of(tmp_path, remedies=())


def test_two_arms_of_one_name(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    files = [str(remedy_file(folder, "same", "cfg.model.candidates_per_level = 50")) for folder in folders]
    with pytest.raises(ValueError, match="two arms are called 'same'"):
        plan_of(tmp_path, remedies=tuple(files))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("train.seed=3", "each run sets this key itself; use --seeds"),
        ("train.output_dir=x", "each run sets this key itself; use --out"),
        ("train.early_stopping.patience=2", "arms would train for different lengths"),
        ("train.max_iters=2", "unknown key 'train.max_iters'"),
        ("data.val=null", "--split val: config .* has test"),
    ],
)
def test_overrides_that_cannot_be(tmp_path, word, message):
    with pytest.raises(ValueError, match=message):
        plan_of(tmp_path, overrides=(word,))


def test_threads_are_pinned_and_stay_so(tmp_path):
    """Where the config leaves them to torch, a later command with other jobs keeps what the grid began with."""
    free = ("train.num_threads=0",)
    plan = plan_of(tmp_path, overrides=free, threads=3)
    assert base_config(plan).train.num_threads == 3
    begin(plan, tmp_path / "out")
    later = plan_of(tmp_path, overrides=free, threads=1)
    assert base_config(later).train.num_threads == 3 and later.overrides == plan.overrides


def test_the_same_folder_takes_more_arms_and_seeds(tmp_path):
    plan = begin_grid(tmp_path)
    other = remedy_file(tmp_path, "flips", "cfg.dataloader.train.augment.transforms[0].vertical = 0.0")
    later = plan_of(tmp_path, remedies=(str(other),), seeds=(5,))
    assert names(later) == ["baseline", "focal_loss", "flips"] and later.seeds == (0, 1, 5)
    assert later.arms[:2] == plan.arms


def begin_grid(tmp_path):
    plan = plan_of(tmp_path)
    begin(plan, tmp_path / "out")
    return plan


def test_the_same_folder_refuses_another_base(tmp_path):
    begin_grid(tmp_path)
    with pytest.raises(ValueError) as error:
        plan_of(tmp_path, overrides=("optimizer.lr=0.5",), budget="time")
    text = str(error.value)
    assert "holds a comparison with another base" in text
    assert "optimizer.lr: 0.002 -> 0.5" in text and "--budget: iterations -> time" in text
    plan_of(tmp_path, overrides=("train.log_period=7", "dataloader.train.num_workers=1"))  # harmless


def ran(plan, out):
    """The arm "more" has finished with seed 0."""
    root = begin(plan, out)
    folder = root / run_folder("more", 0)
    folder.mkdir(parents=True)
    save_config(arm_config(plan, plan.arms[1]), folder / "config.yaml")
    append_result(root, RunRecord("more", 0, run_folder("more", 0), "finished"))


def test_a_remedy_that_changed_after_its_runs_is_refused(tmp_path):
    path = remedy_file(tmp_path, "more", "cfg.model.candidates_per_level = 50")
    plan = plan_of(tmp_path, remedies=(str(path),))
    ran(plan, tmp_path / "out")
    plan_of(tmp_path, remedies=(str(path),))
    remedy_file(tmp_path, "more", "cfg.model.candidates_per_level = 30")
    with pytest.raises(
        ValueError, match=r"(?s)arm 'more' has changed since seed 0 of it ran:\n  model.candidates_per_level: 50 -> 30"
    ):
        plan_of(tmp_path, remedies=(str(path),))


def test_a_remedy_file_that_lies_elsewhere_by_now_is_the_same_arm(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    path = remedy_file(here, "more", "cfg.model.candidates_per_level = 50")
    plan = plan_of(tmp_path, remedies=(str(path),))
    ran(plan, tmp_path / "out")
    here.rename(there)
    now = str(remedy_file(there, "more", "cfg.model.candidates_per_level = 50"))
    assert plan_of(tmp_path, remedies=(now,)).arms[1].remedies == (now,)
    remedy_file(there, "more", "cfg.model.candidates_per_level = 30")
    with pytest.raises(ValueError, match="candidates_per_level: 50 -> 30"):
        plan_of(tmp_path, remedies=(now,))


def test_the_folder_of_a_single_run_is_refused(tmp_path):
    (tmp_path / "config.yaml").touch()
    with pytest.raises(ValueError, match="is the folder of a single run"):
        make_plan(ASKED, tmp_path)


def test_a_remedy_may_not_change_the_budget(tmp_path):
    faster = remedy_file(tmp_path, "faster", "cfg.optimizer.lr = 0.02\ncfg.train.clip_grad.max_norm = 1.0")
    with pytest.raises(ValueError) as error:
        plan_of(tmp_path, remedies=(str(faster),))
    text = str(error.value)
    assert "optimizer.lr: 0.002 in baseline seed 0, 0.02 in faster seed 0" in text
    assert "train.clip_grad.max_norm: 10.0 in baseline seed 0, 1.0 in faster seed 0" in text
    assert "What all arms should have, give as key=value" in text
    with pytest.raises(ValueError, match="arm 'faster' does not differ from the baseline"):
        equal = ("optimizer.lr=0.02", "train.clip_grad.max_norm=1.0")
        plan_of(tmp_path, remedies=(str(faster),), overrides=equal)


def test_a_slot_of_the_loader_is_part_of_the_remedy(tmp_path):
    flips = remedy_file(tmp_path, "flips", "cfg.dataloader.train.augment.transforms[0].vertical = 0.0")
    _, notes = make_plan(replace(ASKED, remedies=(str(flips),)), tmp_path / "out")
    assert any("augment.transforms" in note and note.startswith("part of ") for note in notes)


def test_a_phase_of_its_own_gets_a_longer_baseline(tmp_path):
    body, top = (
        "cfg.model.candidates_per_level = 50",
        "def extra_iterations(cfg):\n    return cfg.train.max_iter // 2\n",
    )
    phase = remedy_file(tmp_path, "phase", body, top)
    plan = plan_of(tmp_path, remedies=(str(phase),), controls=True)
    assert names(plan) == ["baseline", "phase", "baseline (10 more iterations)"]
    arm, control = plan.arms[1:]
    assert [iterations_of(arm_config(plan, one)) for one in plan.arms] == [20, 30, 30]
    assert arm.compared_with == control.name and control.control_of == "phase" and control.compared_with == "baseline"
    alone = plan_of(tmp_path, remedies=(str(phase),))
    assert names(alone) == ["baseline", "phase"] and alone.arms[1].compared_with == "baseline"
    assert iterations_of(arm_config(alone, alone.arms[1])) == 30
    other = remedy_file(tmp_path, "other", "cfg.model.score_threshold = 0.002", top)
    assert extra_iterations(Arm("", (str(phase), str(other))), base_config(plan)) == 20  # two functions, two phases


def test_undeclared_iterations_are_refused(tmp_path):
    longer = remedy_file(tmp_path, "longer", "cfg.train.max_iter = 50")
    with pytest.raises(ValueError, match="train.max_iter: 20 in baseline seed 0, 50 in longer"):
        plan_of(tmp_path, remedies=(str(longer),))


@pytest.mark.parametrize("value", ["-1", "1.5", "'many'", "True"])
def test_extra_iterations_must_be_a_number(tmp_path, value):
    wrong = remedy_file(tmp_path, "wrong", "cfg.model.candidates_per_level = 50", f"extra_iterations = {value}\n")
    with pytest.raises(ValueError, match="wrong.py: extra_iterations is .*; it must be a whole number of 0 or more"):
        plan_of(tmp_path, remedies=(str(wrong),))


def test_a_time_budget_by_hand():
    """20 iterations of 0.1 s are 2 s, in which a remedy of 0.16 s a step does 12.5 iterations: 12, to the even one."""
    plan = with_time_budget(tiny_plan(FOCAL, budget="time"), {"baseline": 0.1, "focal_loss": 0.16})
    assert [iterations_of(arm_config(plan, arm)) for arm in plan.arms] == [20, 12]
    assert with_time_budget(plan, {"baseline": 0.1, "focal_loss": 0.5}) == plan  # it has run, perhaps


def test_the_plan_in_words(tmp_path):
    """1 s to begin, 20 steps of 0.05 s and 2 evaluations of 0.1 s are 2.2 s a run: 3 runs at 2 at once take 3.3 s. A
    run keeps 200 kB and 100 kB; 4 of them, 2 common starts of 100 kB and 2 former checkpoints of 200 kB are 1.8 MB."""
    plan = tiny_plan(FOCAL, seeds=(0, 1))
    root = begin(plan, tmp_path / "out")
    done = [RunRecord("baseline", 0, "", "finished"), RunRecord("focal_loss", 0, "", "failed")]
    half = root / run_folder("baseline", 1)
    half.mkdir(parents=True)
    (half / "last.pth").touch()
    text = describe_plan(plan, done[:1], root, COST, jobs=2)
    assert "  arms: 2\n    baseline    no remedy; what the others are compared with\n    focal_loss\n" in text
    assert "seeds: 0, 1 (2 seeds are indicative; 5 carry a claim)" in text
    assert "budget: 20 iterations of 2 images for each arm; 32 train and 8 val images" in text
    assert "runs: 4, of which 1 are done and 1 are half done" in text
    assert "time: about 0:00:03 for 3 runs 2 at once, by 0.05 s a step" in text
    assert "disk: about 1.7 MiB (0.3 MiB a run);" in text
    assert "of which 2 are done (1 failed: --retry-failed tries them again)" in describe_plan(plan, done, root, COST, 1)
    huge = {**COST, "state_bytes": 10**15}
    assert "THIS DOES NOT FIT" in describe_plan(plan, [], root, huge, 1)


def test_base_is_kept_once(tmp_path):
    plan = tiny_plan(FOCAL)
    root = begin(plan, tmp_path / "out")
    before = (root / "base.yaml").read_text()
    keep_base(replace(plan, overrides=("optimizer.lr=1.0",)), root)
    assert (root / "base.yaml").read_text() == before
    write_plan(plan, root)


@pytest.mark.parametrize("name", [BASE, f"configs/{BASE}.py"])
def test_a_shipped_config_keeps_its_name(name, tmp_path):
    """Which means the same wherever the next command is given."""
    request = replace(ASKED, config=name, overrides=("train.max_iter=20",))
    assert make_plan(request, tmp_path / "out")[0].config == BASE


@pytest.mark.parametrize("part", ["config", "remedy"])
def test_code_that_only_a_plan_names_is_not_run(tmp_path, monkeypatch, part):
    """A stranger's folder: its plan.json names a file that would write a sentinel."""
    sentinel = tmp_path / "sentinel"
    evil = remedy_file(tmp_path, "evil", BODY, f"open({str(sentinel)!r}, 'w')")
    monkeypatch.setenv("IMBDET_TRUST", "tests")
    monkeypatch.setattr("imbdet.config.allowed._names", set())
    plan = tiny_plan(Arm("evil", (str(evil),))) if part == "remedy" else replace(tiny_plan(), config=str(evil))
    (tmp_path / "out").mkdir()
    write_plan(plan, tmp_path / "out")
    with pytest.raises(ValueError, match="evil.py is Python code that a file names"):
        if part == "remedy":
            make_plan(ASKED, tmp_path / "out")
        base_config(plan)
    assert run_cell(tmp_path / "out", plan.arms[-1].name, 0).reason.startswith("refused: ")
    assert not sentinel.exists()
    asked = replace(ASKED, config=str(evil)) if part == "config" else replace(ASKED, remedies=(str(evil),))
    made, _ = make_plan(asked, tmp_path / "new")  # what the command itself names is run, in its cells too
    assert sentinel.exists() and str(evil) in os.environ["IMBDET_TRUST"]
    assert arm_config(made, made.arms[-1]) is not None
