"""What a grid may lack, and what the notes say of it: failed cells, detections, folders, the machines of others."""

import shutil

import numpy as np
import pytest

from imbdet.compare.judge import compare_runs
from imbdet.compare.kept import KEPT, Truths, keep_run, kept_config
from imbdet.compare.structures import BASELINE, Arm, RunRecord
from imbdet.evaluation.bootstrap import image_weights
from imbdet.evaluation.ground_truth import as_ground_truth
from imbdet.evaluation.metrics import TIDE_ERRORS
from imbdet.evaluation.resampled import measure
from imbdet.runs import DETECTIONS, RunFolder

from .fabricated import ALIKE, ARMS, DRAWS, arm, grid, of_two, plan, records, said, write_cell

METRICS_OF_DETECTIONS = ("oLRP", *TIDE_ERRORS)  #: that the evaluation of a run does not have


def test_failed_and_missing_cells_are_left_out_in_pairs(tmp_path):
    """Seed 1 of the baseline and seed 0 of the arm are missing: two pairs remain, of seeds 2 and 3."""
    arms, seeds = (Arm(BASELINE), Arm("good")), (0, 1, 2, 3)
    cells = [r for r in grid(tmp_path, arms, seeds) if (r.arm, r.seed) not in ((BASELINE, 1), ("good", 0))]
    cells.append(RunRecord("good", 0, "runs/good/seed_0", "failed", "diverged: loss is nan"))
    found = compare_runs(plan(arms, seeds), cells, tmp_path, draws=10)
    good, base = arm(found, "good"), arm(found, BASELINE)
    assert good.seeds == [1, 2, 3] and base.seeds == [0, 2, 3]
    assert good.failures == [(0, "diverged: loss is nan")]
    paired = [g - b for g, b in zip(good.values["AP"][1:], base.values["AP"][1:], strict=True)]
    assert good.differences["AP"].mean == pytest.approx(np.mean(paired))
    notes = said(found)
    assert "baseline has 3 of 4 seeds" in notes
    assert "compared with baseline on the 2 seeds that both have finished" in notes


def test_times_of_a_busy_machine_are_not_taken_for_costs(cells, judged_root):
    cells = of_two(cells)
    assert "Step times of one arm" not in said(compare_runs(plan(ARMS[:2], (0, 1)), cells, judged_root, draws=DRAWS))
    cells[0].cost["step_seconds"] *= 2
    notes = said(compare_runs(plan(ARMS[:2], (0, 1)), cells, judged_root, draws=DRAWS))
    assert "Step times of one arm differ by a factor of up to 2.0 between seeds" in notes


def test_arms_that_differ_in_clipping_and_steps_of_an_adversary(cells, judged_root):
    cells = of_two(cells)
    for record in cells:
        record.cost |= {"clipped_share": 0.4 if record.arm == "good" else 0.35, "adversary_steps": 0}
    found = compare_runs(plan(ARMS[:2], (0, 1)), cells, judged_root, draws=DRAWS)
    assert "clipped" not in said(found) and "adversary_steps" not in arm(found, "good").cost
    cells[2].cost |= {"clipped_share": 0.9}
    cells[3].cost |= {"clipped_share": 0.5, "adversary_steps": 57}
    cells[2].cost["adversary_steps"] = 57
    found = compare_runs(plan(ARMS[:2], (0, 1)), cells, judged_root, draws=DRAWS)
    assert "clipped in 70 % of the steps of good and in 35 % of baseline's" in said(found)
    assert arm(found, "good").cost["adversary_steps"] == 57


def test_a_longer_training_is_said_where_no_control_has_it(cells, judged_root):
    cells = of_two(cells)
    assert "Trained longer" not in said(compare_runs(plan(ARMS[:2], (0, 1)), cells, judged_root, draws=DRAWS))
    cells[-1].cost["iterations"] = 140
    notes = said(compare_runs(plan(ARMS[:2], (0, 1)), cells, judged_root, draws=DRAWS))
    assert f"Trained longer than what they are compared with: {ARMS[1].name} (140 iterations, 100)." in notes


def test_an_arm_that_failed_altogether(cells, judged_root):
    cells = [*of_two(cells, 1, 1), RunRecord("good", 0, "runs/good/seed_0", "failed", "out of memory: x")]
    found = compare_runs(plan(ARMS[:2], (0,)), cells, judged_root, draws=DRAWS)
    good = arm(found, "good")
    assert good.seeds == [] and good.differences == {} and good.curves == {} and good.mechanism == []
    assert good.means["AP"] is None and good.cost["step_ratio"] is None and found.pictures == []


def test_one_seed_makes_no_claim(cells, judged_root):
    found = compare_runs(plan(ARMS[:2], (0,)), of_two(cells, 2, 1), judged_root, draws=DRAWS)
    one = arm(found, "good").differences["AP"]
    assert one.verdict == "one seed: no claim" and one.mean > 0 and one.low is None and one.image_sd > 0


def test_runs_without_detections_are_compared_over_seeds(tmp_path):
    """The image part is missing then, and the notes say of whom."""
    cells = grid(tmp_path, ARMS[:2])
    for record in cells:
        if record.arm == "good":
            (tmp_path / record.folder / DETECTIONS).unlink()
    found = compare_runs(plan(ARMS[:2]), cells, tmp_path, draws=20)
    good = arm(found, "good")
    assert good.differences["AP"].image_sd is None and good.differences["AP"].low is not None
    assert good.values["oLRP"] == [None] * 3 and arm(found, BASELINE).values["oLRP"][0] is not None
    assert "No detections to resample for good, seed 0, good, seed 1, good, seed 2" in said(found)
    for record in cells:
        (tmp_path / record.folder / DETECTIONS).unlink(missing_ok=True)
    shutil.rmtree(tmp_path / KEPT)
    none = compare_runs(plan(ARMS[:2]), cells, tmp_path, draws=20)
    assert dict(none.facts)["bootstrap"] == "none, as no run has detections" and none.pictures == []
    assert arm(none, "good").differences["AP"].p_value == pytest.approx(good.differences["AP"].p_value)


def test_a_grid_is_judged_without_its_run_folders(comparison, cells, judged_copy):
    """The same report, but for the pictures."""
    files = sorted((judged_copy / KEPT).glob("*/*.npz"))
    assert len(files) == len(cells)
    shutil.rmtree(judged_copy / "runs")
    after = compare_runs(plan(), cells, judged_copy, draws=DRAWS)
    assert after == comparison and after.arms[1].differences["AP"].image_sd > 0 and after.arms[1].curves
    other = compare_runs(plan(), cells, judged_copy, draws=30)
    assert "they are gone, and what is kept of them are 40 draws, seed 0" in said(other)
    for path in files:
        path.unlink()
    bare = compare_runs(plan(), cells, judged_copy, draws=DRAWS)
    assert bare.arms[1].means == {**comparison.arms[1].means, **dict.fromkeys(METRICS_OF_DETECTIONS)}


def test_draws_are_kept_small_to_a_hundredth_of_a_point_and_holes_stay(tmp_path):
    cells = grid(tmp_path, ARMS[:1], (0,))
    kept, why = keep_run(tmp_path, cells[0], Truths("val", 1000))
    assert next((tmp_path / KEPT).glob("*/*.npz")).stat().st_size < 60_000
    weights = image_weights(40, 1000)
    fresh = measure(tmp_path / cells[0].folder / DETECTIONS, as_ground_truth(records("val")), weights, None)
    np.testing.assert_allclose(kept.measured.draws["AP"], fresh.draws["AP"], atol=1e-5)
    assert np.isnan(kept.measured.draws["APl"]).all() and why == ""
    assert kept_config(RunFolder(tmp_path / cells[0].folder)) is not None


def test_runs_of_another_processor_are_not_compared_with_the_rest_of_their_seed(cells, judged_root):
    """Seed 2 of `good` ran elsewhere: two pairs are left. All of seed 1 ran elsewhere: it still is a pair."""
    cells = of_two(cells, 3, 3)
    for record in cells:
        elsewhere = record.seed == 1 or (record.arm, record.seed) == ("good", 2)
        record.pins["processor"] = "chip B" if elsewhere else "chip A"
    found = compare_runs(plan(), cells, judged_root, draws=DRAWS)
    good, base = arm(found, "good"), arm(found, BASELINE)
    paired = [g - b for g, b in zip(good.values["AP"], base.values["AP"], strict=True)][:2]
    assert good.differences["AP"].mean == pytest.approx(np.mean(paired))
    assert "good, seed 2 (chip B)" in said(found) and "chip A: 0, 2; chip B: 1" in said(found)


def test_detections_of_other_weights_are_found_out(cells, judged_copy):
    cells = of_two(cells)
    source, target = (judged_copy / r.folder / DETECTIONS for r in (cells[0], cells[3]))
    target.write_bytes(source.read_bytes())
    found = compare_runs(plan(ARMS[:2], (0, 1)), cells, judged_copy, draws=DRAWS)
    assert "detections of good, seed 1 cannot be used" in said(found) and "they give an AP of" in said(found)
    assert arm(found, "good").differences["AP"].image_sd is None


def test_data_that_cannot_be_read_any_more(tmp_path):
    cells = grid(tmp_path, ARMS[:2], (0, 1))
    (tmp_path / cells[0].folder / "config.yaml").write_text("model: {}\n")
    found = compare_runs(plan(ARMS[:2], (0, 1)), cells, tmp_path, draws=20)
    assert "has no data.val" in said(found) and arm(found, "good").differences["AP"].mean > 0


def test_controls_are_compared_with_what_they_say(cells, judged_copy):
    """A remedy with 100 more iterations is held against a baseline that has them, too; the control against the plain
    baseline."""
    longer = "baseline (100 more iterations)"
    arms = (Arm(BASELINE), Arm("good", compared_with=longer), Arm(longer, control_of="good"))
    cells = of_two(cells) + [write_cell(judged_copy, longer, seed, ALIKE, 2) for seed in (0, 1)]
    cells[-1].cost["iterations"] = 200
    found = compare_runs(plan(arms, (0, 1)), cells, judged_copy, draws=DRAWS)
    good, control = arm(found, "good"), arm(found, longer)
    paired = [g - c for g, c in zip(good.values["AP"], control.values["AP"], strict=True)]
    assert good.differences["AP"].mean == pytest.approx(np.mean(paired))
    assert control.differences["AP"].verdict == "no evidence"
    assert {first for _, first, _ in found.pictures} == {longer} and {p[2] for p in found.pictures} == {"good"}
    assert dict(found.facts)["iterations"] == "100 to 200"


def test_wrong_records(cells, tmp_path):
    with pytest.raises(ValueError, match="arm 'baseline' has seed 0 twice"):
        compare_runs(plan(), [*cells, *cells], tmp_path)
    with pytest.raises(ValueError, match="arm 'elsewhere'; the plan has baseline, good, same"):
        compare_runs(plan(), [RunRecord("elsewhere", 0, "runs/x", "finished")], tmp_path)
