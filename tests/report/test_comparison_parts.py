"""Words, numbers, plots and pictures of a comparison, one by one."""

import html
import json
import re

import numpy as np
import pytest

from imbdet.compare.structures import Arm, ArmResult, Comparison
from imbdet.evaluation.significance import Difference
from imbdet.report import numbers
from imbdet.report.comparison import formats, pictures, plots
from imbdet.report.comparison import rows as tables


def arm(name, verdict="", mean=0.01, seeds=(0, 1, 2, 3, 4), values=None, **of):
    """An arm of which only AP is known."""
    result = ArmResult(Arm(name, **of), seeds=list(seeds), values={"AP": list(values or [0.3] * len(seeds))})
    result.means["AP"] = 0.3
    if verdict:
        low, high = (None, None) if verdict.startswith("one") else (mean - 0.005, mean + 0.005)
        result.differences["AP"] = Difference("AP", mean, low, high, 0.9, 0.1, 0.2, 0.01, 0.01, verdict, 9)
    return result


def compare(*arms, seeds=(0, 1, 2, 3, 4)):
    return Comparison("t", "c", [arm("baseline", seeds=seeds), *arms], list(seeds))


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ([], "Only the baseline was run; there is nothing to compare."),
        ([arm("a", "better", 0.0107)], "The remedy is better than the baseline by AP (a +1.07)."),
        (
            [arm("a", "no evidence")],
            "There is no evidence that the remedy is better or worse than the baseline by AP (a +1.00).",
        ),
        (
            [arm("a", "better"), arm("b", "worse", -0.02), arm("c", "no evidence"), arm("d", seeds=()), arm("e")],
            "1 of 5 remedies is better than the baseline by AP (a +1.00); 1 is worse (b -2.00); for 1 there is no "
            "evidence either way (c); 1 failed (d); 1 could not be compared (e).",
        ),
        (
            [arm("a", "worse", -0.01), arm("b", "worse", -0.02)],
            "None of 2 remedies is shown to be better than the baseline by AP; 2 are worse (a -1.00, b -2.00).",
        ),
        (
            [arm("a", "better"), arm("b", "better", 0.02, compared_with="long"), arm("long", "better", control_of="b")],
            "2 of 2 remedies are better than the baseline by AP (a +1.00, b +2.00 against long).",
        ),
        (
            [arm("a", "one seed: no claim", seeds=(0,))],
            "One seed: no claim. A difference between two single runs may be noise.",
        ),
        (
            [arm("a", "better", seeds=(0, 1, 2))],
            "The remedy is better than the baseline by AP (a +1.00). With 3 seeds this is indicative; a claim takes "
            "5 or more.",
        ),
        (
            [arm("a", "better"), arm("b", "one seed: no claim", seeds=(1,))],
            "1 of 2 remedies is better than the baseline by AP (a +1.00); 1 has one seed only: no claim (b).",
        ),
    ],
)
def test_answer(arms, expected):
    assert tables.answer(compare(*arms)) == expected


def test_answer_without_a_baseline():
    expected = "No run of the baseline has finished; nothing can be compared."
    assert tables.answer(compare(arm("a", "better"), seeds=())) == expected
    assert tables.answer(Comparison("t", "c", [arm("a", "better")], [0])) == expected


def test_rows_put_controls_below_their_arm_and_lose_none():
    arms = [
        arm("control of a", control_of="a"),
        arm("a"),
        arm("x", control_of="y"),
        arm("y", control_of="x"),
        arm("lost", control_of="gone"),
        arm("of the baseline", control_of="baseline"),
    ]
    found = [(row.name, row.depth) for row in tables.rows(compare(*arms))]
    assert found == [
        ("baseline", 0),
        ("of the baseline", 1),
        ("a", 0),
        ("control of a", 1),
        ("lost", 0),
        ("x", 1),
        ("y", 2),
    ]


def test_control_that_gains_as_well_is_said():
    better = compare(arm("a", "better", 0.02), arm("scale", "better", 0.015, control_of="a"))
    (remark,) = tables.control_notes(better)
    assert (
        "The control scale is better than the baseline as well (+1.50, a +2.00)" in remark and "+0.50 points" in remark
    )
    assert not tables.control_notes(compare(arm("a", "better"), arm("scale", "no evidence", control_of="a")))


@pytest.mark.parametrize(
    ("needed", "hint"), [(9, "about 9 seeds would tell"), (None, "more seeds alone would not tell")]
)
def test_no_evidence_says_what_it_would_take(needed, hint):
    result = arm("a", "no evidence")
    result.differences["AP"].seeds_needed = needed
    row = tables.rows(compare(result))[1]
    assert (row.verdict, row.hint, row.words, row.kind) == ("no evidence", hint, f"no evidence ({hint})", "none")


def test_metrics_stand_in_tables_that_fit(comparison):
    groups = tables.side_by_side(comparison, most=7)
    assert [[metric for _, columns in part for metric, _ in columns] for part in groups] == [
        "AP AP50 AP75 AP90 APs APm APl".split(),
        "APr APc APf oLRP".split(),
        "dCls dLoc dBoth dDupe dBkg dMiss".split(),
    ]
    strange = ArmResult(Arm("a"), seeds=[0], means={f"m{i}": 0.1 for i in range(9)})
    assert [len(part[0][1]) for part in tables.side_by_side(compare(strange))] == [1, 7, 2]


def test_numbers_as_text():
    assert [numbers.signed(v) for v in (0.0107, -0.003, -0.00001, 0.0, None)] == ["+1.07", "-0.30", "0.00", "0.00", "–"]
    assert [numbers.points(v, 1) for v in (0.5, -0.0001, float("nan"), None)] == ["50.0", "0.0", "–", "–"]
    assert numbers.mean_sd(0.4, 0.01) == "40.00 ± 1.00" and numbers.mean_sd(None, 0.01) == "–"
    assert [numbers.probability(v) for v in (1.0, 0.5, 0.0)] == [">0.999", "0.500", "<0.001"]
    assert [numbers.p_value(v) for v in (1.0, 0.0004, None)] == ["1.000", "<0.001", "–"]
    assert [numbers.duration(s) for s in (42.4, 185, 7800)] == ["42 s", "3 min 05 s", "2 h 10 min"]
    assert numbers.change(0.02, 0.05) == "+0.03 (×2.50)" and numbers.change(0, 2) == "+2"
    assert numbers.change(3, 3) == "0 (×1.00)" and numbers.change(None, 3) == "–" and numbers.change("a", 1) == "–"
    shown = [
        numbers.cost_text(*pair) for pair in (("step_seconds", 0.0123), ("step_seconds", 12.34), ("parameters", 950))
    ]
    assert shown == ["12.3 ms", "12.34 s", "950"]
    assert numbers.cost_text("seconds", None) == "–" and numbers.cost_text("strange", 0.5) == "0.5"


def test_markdown_of_names_and_prose():
    assert (
        formats.code("a|b") == r"`a\|b`" and formats.code("a`b``c") == "```a`b``c```" and formats.code("`") == "`` ` ``"
    )
    assert formats.prose("snake_case _it_ *b* <i> a|b\nx") == r"snake_case \_it\_ \*b\* \<i\> a\|b x"


def test_forest_pairs_the_seeds():
    """Seeds 1 and 2 are common: 0.33 - 0.30 and 0.28 - 0.31; seed 3 of the arm has no partner, and None no value."""
    baseline = arm("baseline", seeds=(0, 1, 2, 4), values=(0.1, 0.30, 0.31, None))
    other = arm("a", "better", seeds=(1, 2, 3, 4), values=(0.33, 0.28, 0.5, 0.4))
    found = plots.seed_differences(Comparison("t", "c", [baseline, other], [0, 1, 2, 3, 4]), other, "AP")
    assert found == pytest.approx([0.03, -0.03])
    lost = arm("b", compared_with="gone")
    assert plots.seed_differences(compare(lost), lost, "AP") == []


def test_forest_shows_names_numbers_and_colors(comparison):
    svg = plots.forest(comparison)
    drawn = html.unescape(" ".join(re.findall(r">([^<>]+)</text>", svg)))
    for words in ("_focal_loss", "+1.23  [+0.40, +2.07]", "−2.12  [−3.01, −1.23]", "$y$", "↳ baseline (loss scale)"):
        assert words in drawn, words
    colors = {kind: svg.lower().count(color) for kind, color in plots.VERDICT_COLORS.items()}
    assert all(colors[kind] for kind in ("better", "worse", "none", "one"))
    assert plots.forest(comparison, "AP50") == "" and plots.forests(compare()) == []
    assert "the arm it is compared with" in svg and "arm minus baseline" in plots.forest(compare(arm("a", "better")))


def test_arms_keep_their_look_and_stay_with_their_controls():
    arms = [arm(f"a{i}", "better") for i in range(6)]
    arms += [arm("c1", control_of="a2"), arm("c2", control_of="a2")]
    comparison = compare(*arms)
    looks = plots.arm_looks(comparison)
    own = [looks[name]["color"] for name in looks]
    assert len(set(own)) == len(own) == 9 and looks["c1"]["linestyle"] != "-"
    parts = plots.panels(comparison, comparison.arms)
    names = [[result.arm.name for result, _ in part] for part in parts]
    assert names == [["baseline", "a0", "a1", "a2", "c1", "c2"], ["baseline", "a3", "a4", "a5"]]
    assert all(
        look is looks[result.arm.name] or look == looks[result.arm.name] for part in parts for result, look in part
    )
    alone = plots.panels(comparison, comparison.arms[:1])
    assert [[result.arm.name for result, _ in part] for part in alone] == [["baseline"]]
    many = compare(*(arm(f"b{i}") for i in range(23)))
    sizes = [len(part) for part in plots.panels(many, many.arms, with_baseline=False)]
    assert sum(sizes) == 23 and max(sizes) <= plots.ARMS_A_PLOT


def test_many_classes_become_clouds_with_a_line():
    """Of ten bins of four points each the first holds 1, 2, 3, 4: geometric mean 24^(1/4); of y 4, 3, 2, 1: mean 2.5,
    standard error sqrt(5 / 3) / 2."""
    x, y, errors = plots.binned(range(40, 0, -1), range(-35, 5))
    assert len(x) == 10 and x[0] == pytest.approx(24**0.25) and x == sorted(x)
    assert y[0] == pytest.approx(2.5) and errors[0] == pytest.approx((5 / 3) ** 0.5 / 2)
    classes = [{"name": f"c{i}", "train_boxes": i + 1, "AP": 0.2, "difference": 0.01} for i in range(200)]
    baseline, other = arm("baseline"), arm("a", "better")
    baseline.per_class, other.per_class = classes, classes
    comparison = Comparison("t", "c", [baseline, other], [0])
    (cloud,) = plots.class_difference_plots(comparison)
    assert "train boxes of the class (log)" in cloud and ">c7<" not in cloud
    baseline.per_class = other.per_class = classes[:12]
    (named,) = plots.class_difference_plots(comparison)
    assert ">c7<" in named and ">c11<" in named


def test_curves_with_gaps_and_strange_tags():
    result = arm("a", "better")
    result.curves = {"new/<tag>": {"iterations": [1, 2, 3], "mean": [1.0, None, 2.0], "low": [], "high": []}}
    (svg,) = plots.curve_plots(compare(result))
    assert 'aria-label="new/&lt;tag&gt;"' in svg


PAIR = ("baseline", "a b/c")


@pytest.fixture
def root(tmp_path, val_records, val_detections):
    """A comparison's folder: of seed 1 both arms have detections, of seed 0 only the baseline; the other arm errs."""
    keep = np.arange(len(val_detections)) % 2 == 0
    for folder, found in (("baseline/seed_0", val_detections), ("baseline/seed_1", val_detections)):
        found.save(tmp_path / "runs" / folder / "detections.json", val_records.category_ids)
    val_detections.take(keep).save(tmp_path / "runs" / "a_b_c" / "seed_1" / "detections.json", val_records.category_ids)
    return tmp_path


def with_pictures(*chosen):
    comparison = compare(arm(PAIR[1], "worse"), seeds=(0, 1))
    comparison.pictures = list(chosen)
    return comparison


def test_pictures_show_one_image_with_both_arms(root, val_records):
    image = int(val_records.image_ids[3])
    (pair,), reasons = pictures.gallery(with_pictures((image, *PAIR)), root, val_records)
    first, second = pair.sides
    assert not reasons and (pair.image_id, first.arm, second.arm, first.seed, second.seed) == (image, *PAIR, 1, 1)
    assert first.picture.uri == second.picture.uri
    assert first.picture.count("missed") < second.picture.count("missed")
    objects = [picture.count("missed") + picture.count("true") for picture in (first.picture, second.picture)]
    assert objects[0] == objects[1] == len(val_records.target(3)["labels"])


def test_page_holds_each_picture_once(root, val_records, tmp_path, read_page):
    from imbdet.report.comparison import write_comparison

    chosen = [(int(i), *PAIR) for i in val_records.image_ids[:3]]
    path = write_comparison(with_pictures(*chosen), tmp_path / "out", root, val_records)["html"]
    read_page(path)
    text = path.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == text.count('<use href="#image-') == 3 and text.count("<figure>") == 6
    assert 'id="image-2"' in text and re.search(r'aria-label="a b/c, [^"]+: \d+ found', text)


def test_folders_are_those_that_the_results_name(root, val_records):
    (root / "runs" / "a_b_c").rename(root / "elsewhere")
    lines = [{"arm": PAIR[1], "seed": 1, "folder": "elsewhere/seed_1", "status": "finished"}]
    (root / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"arm": "cut sh')
    pairs, reasons = pictures.gallery(with_pictures((int(val_records.image_ids[0]), *PAIR)), root, val_records)
    assert len(pairs) == 1 and not reasons


def test_pictures_left_out_have_a_reason(root, val_records):
    image = int(val_records.image_ids[0])

    def reason(comparison, records=val_records, folder=root):
        pairs, reasons = pictures.gallery(comparison, folder, records)
        assert not pairs and len(reasons) == 1
        return reasons[0]

    assert "No images were chosen" in reason(with_pictures())
    assert "new is not an arm" in reason(with_pictures((image, "baseline", "new")))
    assert "has no image 987654" in reason(with_pictures((987654, *PAIR)))
    assert "cannot be read: FileNotFoundError" in reason(
        with_pictures((image, *PAIR), (image + 1, *PAIR)), records=None
    )
    (root / "runs" / "a_b_c" / "seed_1" / "detections.json").write_text("[{]")
    assert "The detections of a b/c, seed 1, cannot be drawn" in reason(with_pictures((image, *PAIR)))
    (root / "runs" / "a_b_c" / "seed_1" / "detections.json").unlink()
    assert "No seed of both baseline and a b/c has a detections.json" in reason(with_pictures((image, *PAIR)))


def test_records_come_from_the_config_and_the_split_that_was_evaluated(root, val_records):
    folder = root / "runs" / "baseline" / "seed_1"
    (folder / "metrics.jsonl").write_text("")
    call = "{_target_: imbdet.data.datasets.shapes.shapes, split: val, num_images: 12}"
    (folder / "config.yaml").write_text(f"data: {{test: {call}}}\n")
    plan = {"config": "c", "arms": [{"name": "baseline"}], "seeds": [0], "split": "test"}
    (root / "plan.json").write_text(json.dumps(plan))
    pairs, reasons = pictures.gallery(with_pictures((int(val_records.image_ids[0]), *PAIR)), root)
    assert len(pairs) == 1, reasons
