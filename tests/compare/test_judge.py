"""From run folders to verdicts, on grids whose answer is known; no training."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from imbdet.compare.judge import compare_runs, doubling_gain, imbalances
from imbdet.compare.kept import KEPT, Truths, keep_run, kept_config
from imbdet.compare.structures import BASELINE, Arm, Plan, RunRecord
from imbdet.evaluation.bootstrap import image_weights, rank_detections
from imbdet.evaluation.errors import error_types
from imbdet.evaluation.ground_truth import as_ground_truth
from imbdet.evaluation.lrp import optimal_lrp
from imbdet.evaluation.metrics import COMPARED, TIDE_ERRORS
from imbdet.evaluation.resampled import f1_of_images, measure
from imbdet.runs import DETECTIONS, RunFolder

from .fabricated import BASE, OVERRIDES, Quality, detections_of, records, write_cell

METERS = (("share/rare", 0.2), ("positives/per_image", 4.0), ("iou/after_mean", 0.84), ("own/meter", 7.0))
BETTER = Quality(found=0.95, off=0.04, step=0.15, meters=METERS)
ALIKE = Quality()
ARMS = (Arm(BASELINE), Arm("good", ("focal_loss",)), Arm("same", ("focal_loss",), ("train.x=1",)))
SEEDS = (0, 1, 2)
METRICS_OF_DETECTIONS = ("oLRP", *TIDE_ERRORS)  #: that the evaluation of a run does not have


def plan(arms=ARMS, seeds=SEEDS):
    return Plan(BASE, tuple(arms), tuple(seeds), OVERRIDES)


def grid(root, arms=ARMS, seeds=SEEDS):
    qualities = {"good": BETTER}
    return [
        write_cell(root, arm.name, seed, qualities.get(arm.name, ALIKE), number)
        for number, arm in enumerate(arms)
        for seed in seeds
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("grid")


@pytest.fixture(scope="module")
def cells(root):
    return grid(root)


@pytest.fixture(scope="module")
def comparison(root, cells):
    return compare_runs(plan(), cells, root, draws=40)


def arm(comparison, name):
    return next(result for result in comparison.arms if result.arm.name == name)


def said(comparison):
    return "\n".join(comparison.notes)


def test_verdicts_of_a_better_arm_and_of_one_that_is_alike(comparison):
    good, same = (arm(comparison, name).differences["AP"] for name in ("good", "same"))
    assert good.verdict == "better" and 0 < good.low < good.mean < good.high and good.p_better > 0.9
    assert same.verdict == "no evidence" and same.low < 0 < same.high and same.p_family >= same.p_value > 0.05
    assert good.low <= 0 <= good.high or good.p_family <= 0.05
    assert not good.exploratory and arm(comparison, "good").differences["AP50"].exploratory
    assert good.image_sd > 0 and good.seed_sd > 0
    assert arm(comparison, "good").differences["oLRP"].verdict == "better"  # although it is smaller
    assert arm(comparison, "good").differences["oLRP"].mean < 0
    assert arm(comparison, BASELINE).differences == {}


def test_values_are_those_of_the_runs(comparison, cells, root):
    """AP of each seed, their mean and deviation; oLRP and TIDE recomputed from the detections of one run."""
    good = arm(comparison, "good")
    expected = [record.metrics["AP"] for record in cells if record.arm == "good"]
    assert good.seeds == [0, 1, 2] and good.values["AP"] == expected and set(good.values) == set(COMPARED)
    assert good.means["AP"] == pytest.approx(np.mean(expected))
    assert good.deviations["AP"] == pytest.approx(np.std(expected, ddof=1))
    found = detections_of(BETTER, 1, 1)
    assert good.values["oLRP"][1] == pytest.approx(optimal_lrp(records("val"), found)["oLRP"], abs=1e-12)
    delta = error_types(records("val"), found)["delta"]
    assert [good.values[f"d{name}"][1] for name in delta] == pytest.approx(list(delta.values()))
    paired = [g - b for g, b in zip(expected, arm(comparison, BASELINE).values["AP"], strict=True)]
    assert good.differences["AP"].mean == pytest.approx(np.mean(paired))
    assert good.differences["AP"].seed_sd == pytest.approx(np.std(paired, ddof=1))


def test_the_primary_metric_has_the_verdict_and_another_stands_in_where_it_is_not_defined(cells, root):
    """No object is large, so APl has no values. `good` is found by AP90 as the primary metric."""
    found = compare_runs(replace(plan(), primary="AP90"), cells, root, draws=20)
    assert found.primary == "AP90" and not arm(found, "good").differences["AP90"].exploratory
    assert arm(found, "good").differences["AP"].exploratory and arm(found, "good").differences["AP"].p_family is None
    other = compare_runs(replace(plan(), primary="APl"), cells, root, draws=20)
    assert other.primary == "AP" and "The primary metric is AP: APl is not defined on these images" in said(other)


def test_what_the_grid_can_find_as_measured(comparison):
    """By the residuals of AP about arm and seed, and the part of the images."""
    values = np.array([result.values["AP"] for result in comparison.arms])
    rest = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    sd = np.sqrt((rest**2).sum() / 4)
    text = dict(comparison.facts)["can find"]
    assert f"sd of a run {100 * sd:.2f}" in text and "with 80 % power" in text and "choice of images" in text


def test_undefined_metrics_stay_undefined(comparison):
    """No object of 128 x 128 pictures is large."""
    good = arm(comparison, "good")
    assert good.values["APl"] == [None] * 3 and good.means["APl"] is None and "APl" not in good.differences
    assert good.differences["APr"].image_sd > 0 and good.differences["APs"].image_sd > 0
    assert good.differences["dMiss"].image_sd is None and "TIDE errors hold the noise of seeds only" in said(comparison)


def test_what_the_evaluator_calls_minus_one_is_undefined(comparison, cells, root):
    """A record may hold the -1 of a Result for "there is no such object"."""
    marked = [replace(record, metrics=record.metrics | {"APl": -1.0}) for record in cells]
    found = compare_runs(plan(), marked, root, draws=5)
    assert arm(found, "good").values["APl"] == [None] * 3 and "APl" not in arm(found, "good").differences


def test_f1_of_images_by_hand():
    """Image 10 has two objects, one in a crowd region; image 11 has none; 2 detections are shown, as there are objects.

    Shown are a hit and one on the crowd, which does not count: 2 x 1 / (1 + 1) in image 10. The third would be wrong.
    """
    document = {
        "images": [{"id": i, "width": 300, "height": 100} for i in (10, 11)],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 1, "bbox": [0, 0, 40, 40], "area": 1600, "iscrowd": 0},
            {"id": 2, "image_id": 10, "category_id": 1, "bbox": [100, 0, 90, 90], "area": 8100, "iscrowd": 1},
        ],
    }
    rows = [
        {"image_id": 10, "category_id": 1, "bbox": [0, 0, 40, 40], "score": 0.9},
        {"image_id": 10, "category_id": 1, "bbox": [110, 10, 20, 20], "score": 0.8},
        {"image_id": 11, "category_id": 1, "bbox": [0, 0, 40, 40], "score": 0.7},
    ]
    ranked = rank_detections(document, rows)
    assert f1_of_images(ranked, 2).tolist() == [1, 1]
    assert f1_of_images(ranked, 3).tolist() == [1, 0]
    assert f1_of_images(rank_detections(document, rows[1:]), 1).tolist() == [0, 1]


def test_cost(comparison):
    good, base = arm(comparison, "good"), arm(comparison, BASELINE)
    assert good.cost["step_seconds"] == pytest.approx(0.15 * 1.01) and good.cost["step_ratio"] == pytest.approx(1.5)
    assert (good.cost["peak_memory_mib"], good.cost["parameters"], good.cost["seconds"]) == (502, 1000, 11)
    frequent = [b - g for g, b in zip(good.values["APf"], base.values["APf"], strict=True)]
    assert good.cost["frequent_loss"] == pytest.approx(np.mean(frequent)) and good.cost["frequent_loss"] < 0
    assert base.cost["step_ratio"] == 1 and base.cost["frequent_loss"] == 0


def test_mechanism_lists_the_meters_of_the_imbalance_then_its_own_then_what_changed(comparison):
    """focal_loss is about foreground and background: positives and the classification loss come first.

    An IoU of .84 instead of .80 is a small change. The means are of the last five of the seven reports.
    """
    rows = {row["tag"]: row for row in arm(comparison, "good").mechanism}
    assert list(rows) == ["positives/per_image", "loss/cls", "own/meter", "share/rare"]
    assert rows["share/rare"]["baseline"] == pytest.approx(0.05 * 1.001)
    assert rows["share/rare"]["arm"] == pytest.approx(0.2 * 1.001)
    assert rows["own/meter"]["baseline"] is None and rows["own/meter"]["arm"] == pytest.approx(7 * 1.001)
    assert rows["loss/cls"]["arm"] == pytest.approx(np.mean([50 / i for i in (20, 40, 60, 80, 100)]))
    assert [row["tag"] for row in arm(comparison, "same").mechanism] == ["positives/per_image", "loss/cls"]
    assert arm(comparison, BASELINE).mechanism == []
    assert imbalances(["focal_loss", "class_fg_bg/focal_loss", "/elsewhere/own.py"]) == ["class_fg_bg"]


def test_curves_are_mean_and_range_over_the_seeds(comparison):
    """loss/total of seed s is 100 / i + s."""
    found = arm(comparison, "good").curves
    assert set(found) == {"loss/total", "val/loss/total", "AP/AP"}
    assert found["loss/total"]["iterations"] == [5, 10, 20, 40, 60, 80, 100]
    assert [found["loss/total"][key][0] for key in ("low", "mean", "high")] == [20, 21, 22]
    assert found["AP/AP"]["iterations"] == [50, 100]
    assert found["AP/AP"]["mean"][1] == pytest.approx(arm(comparison, "good").means["AP"])


def test_what_twice_the_iterations_would_add():
    """AP = 0.5 - t^-0.5 rises from 100 to 200 by 200^-.5 - 400^-.5 ...; from 400 to 800 it adds 400^-.5 - 800^-.5."""
    times = [100, 200, 400]
    curve = {"iterations": times, "mean": [0.5 - t**-0.5 for t in times]}
    assert doubling_gain(curve) == pytest.approx(400**-0.5 - 800**-0.5)
    assert doubling_gain({"iterations": times, "mean": [0.1, 0.2, 0.4]}) == pytest.approx(0.2)  # not more than the last
    assert doubling_gain({"iterations": times, "mean": [0.3, 0.4, 0.39]}) == 0
    assert doubling_gain({"iterations": [200, 400], "mean": [0.1, 0.2]}) is None and doubling_gain({}) is None


def test_a_grid_that_compares_speed_of_learning_says_so(tmp_path):
    """AP of fabricated runs at 25, 50 and 100 of 100 iterations; the last doubling adds 10 points, or 1."""
    for number, (last, words) in enumerate(((0.4, "about 10.0 AP"), (0.31, "about 0.1 AP"))):
        root = tmp_path / str(number)
        cells = grid(root, ARMS[:2], (0, 1))
        for record in cells:
            path = root / record.folder / "metrics.jsonl"
            lines = [{"iteration": i, "split": "val", "AP/AP": ap} for i, ap in ((25, 0.2), (50, 0.3), (100, last))]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        notes = said(compare_runs(plan(ARMS[:2], (0, 1)), cells, root, draws=20))
        assert words in notes and ("this compares speed of learning" in notes) == (number == 0)


def test_table_of_classes(comparison, cells):
    rows = arm(comparison, "good").per_class
    assert [row["name"] for row in rows] == list(records("val").class_names)
    of = {r.seed: r.per_class[0]["AP"] for r in cells if r.arm == "good"}
    base = {r.seed: r.per_class[0]["AP"] for r in cells if r.arm == BASELINE}
    assert rows[0]["AP"] == pytest.approx(np.mean(list(of.values())))
    assert rows[0]["difference"] == pytest.approx(np.mean([of[s] - base[s] for s in SEEDS]))
    assert rows[0]["train_boxes"] == records("train").class_counts()[0] and rows[0]["group"] == "frequent"
    assert all(row["difference"] is None for row in arm(comparison, BASELINE).per_class)


def test_pictures_are_those_on_which_two_arms_differ_most(comparison):
    """F1 of the first seed, recomputed by a loop over the images with the greedy rule at IoU 0.5."""
    chosen = [image for image, first, second in comparison.pictures if (first, second) == (BASELINE, "good")]
    assert len(chosen) == 6 and len(comparison.pictures) <= 12
    apart = abs(f1_by_loop(detections_of(ALIKE, 0, 0)) - f1_by_loop(detections_of(BETTER, 0, 1)))
    place = {int(image): i for i, image in enumerate(records("val").image_ids)}
    values = [apart[place[image]] for image in chosen]
    assert values == pytest.approx(sorted(apart, reverse=True)[:6])


def f1_by_loop(found):
    r = records("val")
    limit = np.sort(found.score)[-min(int((~r.crowd).sum()), len(found.score))]
    values = []
    for i, image_id in enumerate(r.image_ids):
        objects = [(box, label) for box, label in zip(r.xywh, r.labels, strict=True)]
        objects = [objects[j] for j in np.flatnonzero(r.object_image == i)]
        rows = [j for j in np.flatnonzero(found.image_id == image_id) if found.score[j] >= limit]
        total, hits = len(objects) + len(rows), 0
        for j in sorted(rows, key=lambda j: -found.score[j]):
            overlaps = [iou(found.xywh[j], box) if label == found.label[j] else 0 for box, label in objects]
            if overlaps and max(overlaps) >= 0.5:
                objects.pop(int(np.argmax(overlaps)))
                hits += 1
        values.append(2 * hits / total if total else 1.0)
    return np.array(values)


def iou(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return 0 if w <= 0 or h <= 0 else w * h / (a[2] * a[3] + b[2] * b[3] - w * h)


def test_head_of_the_page(comparison):
    facts = dict(comparison.facts)
    assert facts["images"] == "40 (val)" and facts["iterations"] == "100" and facts["threads"] == "2"
    assert facts["bootstrap"] == "40 draws of the images" and facts["budget"] == "equal iterations"
    assert facts["versions"] == "imbdet 0.1.0, torch 2.9.0" and "maxDets 1/10/100" in facts["evaluator"]
    assert "terciles" in comparison.group_rule and comparison.seeds == [0, 1, 2] and comparison.draws == 40
    assert "fewer than 5 seeds a verdict is indicative" in said(comparison)
    assert "fewer than 20 test objects" in said(comparison)


def test_the_same_records_give_the_same_comparison(comparison, cells, root):
    assert compare_runs(plan(), cells, root, draws=40).arms == comparison.arms
    other = compare_runs(plan(), cells, root, draws=20, seed=1)
    assert other.arms != comparison.arms and arm(other, "good").means == arm(comparison, "good").means


def test_failed_and_missing_cells_are_left_out_in_pairs(tmp_path):
    """Seed 1 of the baseline and seed 0 of the arm are missing: two pairs remain, of seeds 2 and 3."""
    arms, seeds = (Arm(BASELINE), Arm("good")), (0, 1, 2, 3)
    cells = [r for r in grid(tmp_path, arms, seeds) if (r.arm, r.seed) not in ((BASELINE, 1), ("good", 0))]
    cells.append(RunRecord("good", 0, "runs/good/seed_0", "failed", "diverged: loss is nan"))
    found = compare_runs(plan(arms, seeds), cells, tmp_path, draws=50)
    good, base = arm(found, "good"), arm(found, BASELINE)
    assert good.seeds == [1, 2, 3] and base.seeds == [0, 2, 3]
    assert good.failures == [(0, "diverged: loss is nan")]
    paired = [g - b for g, b in zip(good.values["AP"][1:], base.values["AP"][1:], strict=True)]
    assert good.differences["AP"].mean == pytest.approx(np.mean(paired))
    notes = said(found)
    assert "baseline has 3 of 4 seeds" in notes
    assert "compared with baseline on the 2 seeds that both have finished" in notes


def test_times_of_a_busy_machine_are_not_taken_for_costs(tmp_path):
    cells = grid(tmp_path, ARMS[:2], (0, 1))
    assert "Times differ" not in said(compare_runs(plan(ARMS[:2], (0, 1)), cells, tmp_path, draws=20))
    cells[0].cost["step_seconds"] *= 2
    notes = said(compare_runs(plan(ARMS[:2], (0, 1)), cells, tmp_path, draws=20))
    assert "Step times of one arm differ by a factor of up to 2.0 between seeds" in notes


def test_arms_that_differ_in_clipping_and_steps_of_an_adversary(tmp_path):
    cells = grid(tmp_path, ARMS[:2], (0, 1))
    for record in cells:
        record.cost |= {"clipped_share": 0.4 if record.arm == "good" else 0.35, "adversary_steps": 0}
    found = compare_runs(plan(ARMS[:2], (0, 1)), cells, tmp_path, draws=20)
    assert "clipped" not in said(found) and "adversary_steps" not in arm(found, "good").cost
    cells[2].cost |= {"clipped_share": 0.9}
    cells[3].cost |= {"clipped_share": 0.5, "adversary_steps": 57}
    cells[2].cost["adversary_steps"] = 57
    found = compare_runs(plan(ARMS[:2], (0, 1)), cells, tmp_path, draws=20)
    assert "clipped in 70 % of the steps of good and in 35 % of baseline's" in said(found)
    assert arm(found, "good").cost["adversary_steps"] == 57


def test_a_longer_training_is_said_where_no_control_has_it(tmp_path):
    cells = grid(tmp_path, ARMS[:2], (0, 1))
    assert "Trained longer" not in said(compare_runs(plan(ARMS[:2], (0, 1)), cells, tmp_path, draws=20))
    cells[-1].cost["iterations"] = 140
    notes = said(compare_runs(plan(ARMS[:2], (0, 1)), cells, tmp_path, draws=20))
    assert f"Trained longer than what they are compared with: {ARMS[1].name} (140 iterations, 100)." in notes


def test_an_arm_that_failed_altogether(tmp_path):
    cells = [*grid(tmp_path, ARMS[:1], (0,)), RunRecord("good", 0, "runs/good/seed_0", "failed", "out of memory: x")]
    found = compare_runs(plan(ARMS[:2], (0,)), cells, tmp_path, draws=20)
    good = arm(found, "good")
    assert good.seeds == [] and good.differences == {} and good.curves == {} and good.mechanism == []
    assert good.means["AP"] is None and good.cost["step_ratio"] is None and found.pictures == []


def test_one_seed_makes_no_claim(tmp_path):
    found = compare_runs(plan(ARMS[:2], (0,)), grid(tmp_path, ARMS[:2], (0,)), tmp_path, draws=50)
    one = arm(found, "good").differences["AP"]
    assert one.verdict == "one seed: no claim" and one.mean > 0 and one.low is None and one.image_sd > 0


def test_runs_without_detections_are_compared_over_seeds(tmp_path):
    """The image part is missing then, and the notes say of whom."""
    cells = grid(tmp_path, ARMS[:2])
    for record in cells:
        if record.arm == "good":
            (tmp_path / record.folder / DETECTIONS).unlink()
    found = compare_runs(plan(ARMS[:2]), cells, tmp_path, draws=50)
    good = arm(found, "good")
    assert good.differences["AP"].image_sd is None and good.differences["AP"].low is not None
    assert good.values["oLRP"] == [None] * 3 and arm(found, BASELINE).values["oLRP"][0] is not None
    assert "No detections to resample for good, seed 0, good, seed 1, good, seed 2" in said(found)
    for record in cells:
        (tmp_path / record.folder / DETECTIONS).unlink(missing_ok=True)
    shutil.rmtree(tmp_path / KEPT)
    none = compare_runs(plan(ARMS[:2]), cells, tmp_path)
    assert dict(none.facts)["bootstrap"] == "none, as no run has detections" and none.pictures == []
    assert arm(none, "good").differences["AP"].p_value == pytest.approx(good.differences["AP"].p_value)


def test_a_grid_is_judged_without_its_run_folders(tmp_path):
    """The same report, but for the pictures; a kept file is small."""
    cells = grid(tmp_path)
    before = compare_runs(plan(), cells, tmp_path)
    files = sorted((tmp_path / KEPT).glob("*/*.npz"))
    assert len(files) == len(cells) and max(path.stat().st_size for path in files) < 60_000
    shutil.rmtree(tmp_path / "runs")
    after = compare_runs(plan(), cells, tmp_path)
    assert after == before and after.arms[1].differences["AP"].image_sd > 0 and after.arms[1].curves
    other = compare_runs(plan(), cells, tmp_path, draws=30)
    assert "they are gone, and what is kept of them are 1000 draws, seed 0" in said(other)
    for path in files:
        path.unlink()
    bare = compare_runs(plan(), cells, tmp_path)
    assert bare.arms[1].means == {**before.arms[1].means, **dict.fromkeys(METRICS_OF_DETECTIONS)}


def test_draws_are_kept_to_a_hundredth_of_a_point_and_holes_stay(tmp_path):
    cells = grid(tmp_path, ARMS[:1], (0,))
    kept, why = keep_run(tmp_path, cells[0], Truths("val", 50))
    weights = image_weights(40, 50)
    fresh = measure(tmp_path / cells[0].folder / DETECTIONS, as_ground_truth(records("val")), weights, None)
    np.testing.assert_allclose(kept.measured.draws["AP"], fresh.draws["AP"], atol=1e-5)
    assert np.isnan(kept.measured.draws["APl"]).all() and why == ""
    assert kept_config(RunFolder(tmp_path / cells[0].folder)) is not None


def test_runs_of_another_processor_are_not_compared_with_the_rest_of_their_seed(tmp_path):
    """Seed 2 of `good` ran elsewhere: two pairs are left. All of seed 1 ran elsewhere: it still is a pair."""
    cells = grid(tmp_path)
    for record in cells:
        elsewhere = record.seed == 1 or (record.arm, record.seed) == ("good", 2)
        record.pins["processor"] = "chip B" if elsewhere else "chip A"
    found = compare_runs(plan(), cells, tmp_path, draws=20)
    good, base = arm(found, "good"), arm(found, BASELINE)
    paired = [g - b for g, b in zip(good.values["AP"], base.values["AP"], strict=True)][:2]
    assert good.differences["AP"].mean == pytest.approx(np.mean(paired))
    assert "good, seed 2 (chip B)" in said(found) and "chip A: 0, 2; chip B: 1" in said(found)


def test_detections_of_other_weights_are_found_out(tmp_path):
    cells = grid(tmp_path, ARMS[:2], (0, 1))
    source, target = (tmp_path / r.folder / DETECTIONS for r in (cells[0], cells[3]))
    target.write_bytes(source.read_bytes())
    found = compare_runs(plan(ARMS[:2], (0, 1)), cells, tmp_path, draws=20)
    assert "detections of good, seed 1 cannot be used" in said(found) and "they give an AP of" in said(found)
    assert arm(found, "good").differences["AP"].image_sd is None


def test_data_that_cannot_be_read_any_more(tmp_path):
    cells = grid(tmp_path, ARMS[:2], (0, 1))
    (tmp_path / cells[0].folder / "config.yaml").write_text("model: {}\n")
    found = compare_runs(plan(ARMS[:2], (0, 1)), cells, tmp_path, draws=20)
    assert "has no data.val" in said(found) and arm(found, "good").differences["AP"].mean > 0


def test_controls_are_compared_with_what_they_say(tmp_path):
    """A remedy with 100 more iterations is held against a baseline that has them, too; the control against the plain
    baseline."""
    longer = "baseline (100 more iterations)"
    arms = (Arm(BASELINE), Arm("good", compared_with=longer), Arm(longer, control_of="good"))
    cells = grid(tmp_path, arms, (0, 1))
    cells[-1].cost["iterations"] = 200
    found = compare_runs(plan(arms, (0, 1)), cells, tmp_path, draws=20)
    good, control = arm(found, "good"), arm(found, longer)
    paired = [g - c for g, c in zip(good.values["AP"], control.values["AP"], strict=True)]
    assert good.differences["AP"].mean == pytest.approx(np.mean(paired))
    assert control.differences["AP"].verdict == "no evidence"
    assert {first for _, first, _ in found.pictures} == {longer} and {p[2] for p in found.pictures} == {"good"}
    assert dict(found.facts)["iterations"] == "100 to 200"


def test_wrong_records(tmp_path):
    cells = grid(tmp_path, ARMS[:1], (0,))
    with pytest.raises(ValueError, match="arm 'baseline' has seed 0 twice"):
        compare_runs(plan(), [*cells, *cells], tmp_path)
    with pytest.raises(ValueError, match="arm 'elsewhere'; the plan has baseline, good, same"):
        compare_runs(plan(), [RunRecord("elsewhere", 0, "runs/x", "finished")], tmp_path)


def test_it_can_be_written_as_json(comparison):
    assert json.loads(json.dumps(asdict(comparison), allow_nan=False))["seeds"] == [0, 1, 2]
