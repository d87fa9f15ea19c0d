"""From run folders to verdicts, on grids whose answer is known; no training."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

from imbdet.compare import curves
from imbdet.compare.curves import doubling_gain, imbalances
from imbdet.compare.judge import compare_runs
from imbdet.compare.kept import Kept
from imbdet.compare.results import write_results
from imbdet.compare.structures import BASELINE, RunRecord
from imbdet.evaluation.bootstrap import rank_detections
from imbdet.evaluation.errors import error_types
from imbdet.evaluation.lrp import optimal_lrp
from imbdet.evaluation.metrics import COMPARED
from imbdet.evaluation.resampled import f1_of_images

from .fabricated import ALIKE, ARMS, BETTER, DRAWS, SEEDS, arm, detections_of, of_two, plan, records, said


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


def test_values_are_those_of_the_runs(comparison, cells):
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


def test_the_primary_metric_has_the_verdict_and_another_stands_in_where_it_is_not_defined(cells, judged_root):
    """No object is large, so APl has no values. `good` is found by AP90 as the primary metric."""
    found = compare_runs(replace(plan(), primary="AP90"), cells, judged_root, draws=DRAWS)
    assert found.primary == "AP90" and not arm(found, "good").differences["AP90"].exploratory
    assert arm(found, "good").differences["AP"].exploratory and arm(found, "good").differences["AP"].p_family is None
    other = compare_runs(replace(plan(), primary="APl"), cells, judged_root, draws=DRAWS)
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


def test_what_the_evaluator_calls_minus_one_is_undefined(cells, judged_root):
    """A record may hold the -1 of a Result for "there is no such object"."""
    marked = [replace(record, metrics=record.metrics | {"APl": -1.0}) for record in cells]
    found = compare_runs(plan(), marked, judged_root, draws=DRAWS)
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


def test_curves_are_means_with_the_interval_of_the_mean(comparison):
    """loss/total of seed s is 100 / i + s in all arms, so that nothing is left of a run after arm and seed."""
    found = arm(comparison, "good").curves
    assert set(found) == {"loss/total", "val/loss/total", "AP/AP"}
    assert found["loss/total"]["iterations"] == [5, 10, 20, 40, 60, 80, 100]
    assert [found["loss/total"][key][0] for key in ("low", "mean", "high")] == pytest.approx([21, 21, 21])
    assert found["AP/AP"]["low"][1] < found["AP/AP"]["mean"][1] < found["AP/AP"]["high"][1]
    assert found["AP/AP"]["iterations"] == [50, 100]
    assert found["AP/AP"]["mean"][1] == pytest.approx(arm(comparison, "good").means["AP"])


def test_the_plan_says_what_a_longer_training_would_add(tmp_path, monkeypatch):
    """AP = 0.5 - t^-0.5 at 100, 200 and 400 in two seeds: 400^-.5 - 800^-.5 = 1.5 AP."""
    reports = [{"iteration": t, "split": "val", "AP/AP": 0.5 - t**-0.5} for t in (100, 200, 400)]
    monkeypatch.setattr(curves, "read_kept", lambda path: Kept({"reports": reports}))
    pilot, root = tmp_path / "pilot", tmp_path / "out"
    for place in (pilot, root):
        place.mkdir()
    records = [RunRecord(BASELINE, seed, f"runs/baseline/seed_{seed}", "finished") for seed in (0, 1)]
    assert curves.length_by_curve(plan(), root) == ""
    write_results(pilot, [*records, RunRecord("good", 0, "runs/good/seed_0", "finished")])
    asked = replace(plan(), pilot=str(pilot / "results.jsonl"))
    assert curves.length_by_curve(asked, root) == (
        f"by the baseline's 400 iterations in {pilot}, twice the iterations would add about 1.5 AP (an upper estimate)"
    )
    assert curves.length_by_curve(plan(), pilot / "new") == ""  # not the folder above one that is still to be made
    write_results(root, records)
    assert str(root) in curves.length_by_curve(asked, root)  # its own runs tell more


def test_what_twice_the_iterations_would_add():
    """AP = 0.5 - t^-0.5 rises from 100 to 200 by 200^-.5 - 400^-.5 ...; from 400 to 800 it adds 400^-.5 - 800^-.5."""
    times = [100, 200, 400]
    curve = {"iterations": times, "mean": [0.5 - t**-0.5 for t in times]}
    assert doubling_gain(curve) == pytest.approx(400**-0.5 - 800**-0.5)
    assert doubling_gain({"iterations": times, "mean": [0.1, 0.2, 0.4]}) == pytest.approx(0.2)  # not more than the last
    assert doubling_gain({"iterations": times, "mean": [0.3, 0.4, 0.39]}) == 0
    assert doubling_gain({"iterations": [200, 400], "mean": [0.1, 0.2]}) is None and doubling_gain({}) is None


@pytest.mark.parametrize(("last", "words"), [(0.4, "about 10.0 AP"), (0.31, "about 0.1 AP")])
def test_a_grid_that_compares_speed_of_learning_says_so(cells, judged_copy, last, words):
    """AP of fabricated runs at 25, 50 and 100 of 100 iterations; the last doubling adds 10 points, or 1."""
    for record in of_two(cells):
        path = judged_copy / record.folder / "metrics.jsonl"
        lines = [{"iteration": i, "split": "val", "AP/AP": ap} for i, ap in ((25, 0.2), (50, 0.3), (100, last))]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    notes = said(compare_runs(plan(ARMS[:2], (0, 1)), of_two(cells), judged_copy, draws=DRAWS))
    assert words in notes and ("this compares speed of learning" in notes) == (last == 0.4)


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


def test_the_same_records_give_the_same_comparison(cells, judged_copy, tmp_path):
    """Measured anew in a folder of its own, with as many draws and with others."""
    of, two, anew = plan(ARMS[:2], (0, 1)), of_two(cells), tmp_path / "anew"
    shutil.copytree(judged_copy / "runs", anew / "runs")
    once = compare_runs(of, two, judged_copy, draws=DRAWS)
    assert compare_runs(of, two, anew, draws=DRAWS).arms == once.arms
    other = compare_runs(of, two, anew, draws=20, seed=1)
    assert other.arms != once.arms and arm(other, "good").means == arm(once, "good").means


def test_it_can_be_written_as_json(comparison):
    assert json.loads(json.dumps(asdict(comparison), allow_nan=False))["seeds"] == [0, 1, 2]
