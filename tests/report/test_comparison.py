"""The reports of a comparison: everything that the structure holds stands in each of them, whole and escaped."""

import copy
import csv
import html
import re
import shutil
import subprocess

import pytest

from imbdet.compare.structures import Arm, ArmResult, Comparison
from imbdet.report.comparison import formats, terminal, write_comparison
from imbdet.report.numbers import one_line

FILES = {
    "html": "report.html",
    "md": "report.md",
    "csv": "report.csv",
    "runs": "runs.csv",
    "classes": "classes.csv",
    "tex": "report.tex",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory, comparison):
    """Into a folder that does not exist before."""
    return write_comparison(comparison, tmp_path_factory.mktemp("comparison") / "new")


@pytest.fixture(scope="module")
def page(written):
    return written["html"].read_text(encoding="utf-8")


def table_text(page):
    """What a reader sees: tags gone, entities read, the sign of a number as on a keyboard."""
    text = re.sub(r"<[^>]+>", "", re.sub(r"</(td|th|span|dt)>", " ", page))
    return " ".join(html.unescape(text).replace("−", "-").split())


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same(text, value):
    """A field of a CSV file reads back as the very number, None as an empty field."""
    return text == "" if value is None else float(text) == value


def test_files_are_written_whole_and_no_others(written):
    assert {key: path.name for key, path in written.items()} == FILES
    assert sorted(p.name for p in written["html"].parent.iterdir()) == sorted(FILES.values())


def test_page_is_well_formed_and_alone(written, page, read_page):
    reader = read_page(written["html"])
    assert "script" not in reader.tags
    assert reader.addresses and all(address.startswith(("data:", "#")) for address in reader.addresses)
    assert not re.findall(r"url\((?!#)[^)]*\)|@import|https?://(?!www\.w3\.org)", page)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert ids and len(ids) == len(set(ids))


def test_page_shows_every_arm_value_and_reason(comparison, page):
    text = table_text(page)
    for result in comparison.arms:
        assert one_line(result.arm.name) in text
        for metric, value in result.means.items():
            sd = result.deviations[metric]
            if value is not None:
                shown = f"{100 * value:.1f}" + (f" ± {100 * sd:.1f}" if sd is not None else "")
                assert shown in text, (result.arm.name, metric)
    for words in (
        "+1.23 +0.40 to +2.07 0.999 0.008 better",
        "-2.12 -3.01 to -1.23 <0.001 <0.001 worse",
        "+0.31 -0.40 to +1.02 0.810 0.740 no evidence about 17 seeds would tell",
        "+0.50 – – – one seed: no claim",
        "seeds 0, 1, 2, 3, 4 failed: diverged: loss_cls <nan> at iteration 7",
        "seed 3 failed: out of memory",
        "4 of 5",
        "control of _focal_loss",
        "compared with baseline (200 more)",
    ):
        assert words in text, words


def test_page_shows_facts_notes_costs_meters_classes_and_plots(comparison, page):
    text = table_text(page)
    for words in (
        *(one_line(value) for _, value in comparison.facts),
        *comparison.notes,
        comparison.title,
        comparison.config,
        comparison.group_rule,
        "5 (0, 1, 2, 3, 4)",
        "1234 draws",
        "250 ms ×1.01 1,234 MiB 17.25 M 1 h 02 min +0.42",
        "share/roi_<rare> 0.02 0.05 +0.03 (×2.50)",
        "<bike> rare 10 30.0 ± 1.0",
        "model.x=<1>",
    ):
        assert words in text, words
    for title in (
        "Difference in AP",
        "Difference in AP75 (exploratory)",
        "Difference in AP, rare classes (exploratory)",
    ):
        assert f'aria-label="{title}"' in page
    for title in ("Training loss", "AP on val", "AP of a class over its train boxes", "Difference of each class"):
        assert f'aria-label="{title}"' in page
    assert 'aria-label="Difference in AP, frequent classes"' not in page  # no arm has that difference


def test_names_are_escaped_everywhere(page):
    assert "<b> &" not in page and "a&lt;b&gt; &amp; " in page
    assert "<bike>" not in page and "<nan>" not in page and "<50>" not in page


def test_markdown_shows_the_same_and_keeps_its_tables(comparison, written):
    text = written["md"].read_text(encoding="utf-8")
    for words in (
        "# Shapes \\<50\\> \\& more",
        "+0.40 to +2.07",
        "**better**",
        "no evidence (about 17 seeds would tell)",
        "one seed: no claim",
        "seeds 0, 1, 2, 3, 4 failed: diverged: loss_cls \\<nan\\> at iteration 7",
        "↳ `baseline (loss scale)`",
        "ohem has 4 of 5 seeds \\& \\*no\\* more",
        "rare: up to \\<20\\>",
        "1234 draws",
        "hotcoco 1.3.0 \\<x\\>",
        "`share/roi_<rare>`",
        "1 h 02 min",
    ):
        assert words in text, words
    for result in comparison.arms:
        for metric, value in result.means.items():
            assert value is None or f"{100 * value:.1f}" in text, metric
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 6  # verdicts, three of metrics, cost, mechanism
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1, block[0]


def test_no_folder_above_is_named(comparison, tmp_path):
    """A comparison of single runs has the baseline's folder for its config."""
    of_runs = copy.copy(comparison)
    of_runs.config = "/somewhere/else/plain"
    write_comparison(of_runs, tmp_path)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "plain" in text and "/somewhere" not in text


def test_csv_reads_back_equal(comparison, written):
    rows = {(row["arm"], row["metric"]): row for row in rows_of(written["csv"])}
    for result in comparison.arms:
        for metric, mean in result.means.items():
            row = rows.pop((result.arm.name, metric))
            assert same(row["mean"], mean) and same(row["sd"], result.deviations[metric])
            assert row["control_of"] == result.arm.control_of and int(row["seeds"]) == len(result.seeds)
            found = result.differences.get(metric)
            assert row["verdict"] == (found.verdict if found else "")
            if found:
                assert same(row["difference"], found.mean) and same(row["p"], found.p_value)
                for name in ("low", "high", "p_better", "p_family", "seed_sd", "image_sd", "seeds_needed"):
                    assert same(row[name], getattr(found, name)), name
        for key, value in result.cost.items():
            assert same(rows.pop((result.arm.name, f"cost/{key}"))["mean"], value)
        for meter in result.mechanism:
            row = rows.pop((result.arm.name, f"meter/{meter['tag']}"))
            assert same(row["mean"], meter["arm"]) and same(row["difference"], meter["arm"] - meter["baseline"])
    assert [(arm, row["verdict"]) for (arm, _), row in rows.items()] == [("ghm", "failed")]


def test_csv_of_runs_and_classes_reads_back_equal(comparison, written):
    finished = {
        (r["arm"], int(r["seed"]), r["metric"]): r for r in rows_of(written["runs"]) if r["status"] == "finished"
    }
    failed = [(r["arm"], int(r["seed"]), r["reason"]) for r in rows_of(written["runs"]) if r["status"] == "failed"]
    classes = {(r["arm"], r["class"]): r for r in rows_of(written["classes"])}
    for result in comparison.arms:
        for metric, values in result.values.items():
            for seed, value in zip(result.seeds, values, strict=True):
                assert same(finished.pop((result.arm.name, seed, metric))["value"], value)
        for one in result.per_class:
            row = classes.pop((result.arm.name, one["name"]))
            assert all(same(row[key], one[key]) for key in ("train_boxes", "AP", "sd", "difference"))
    assert not finished and not classes
    assert failed == [(r.arm.name, s, reason) for r in comparison.arms for s, reason in r.failures]


def test_latex_shows_the_same_escaped_and_bold_only_where_better(comparison, written):
    text = written["tex"].read_text(encoding="utf-8")
    body = text.replace("\\allowbreak{}", "")
    for words in (
        r"\_focal\_loss",
        r"a\textless{}b\textgreater{} \& ",
        r"d\_\{x\} \$y\$ \%\#1",
        "+0.40 to +2.07",
        "$-$2.12",
        "no evidence (17)",
        "one seed: no claim",
        "4 of 5",
        r"diverged: loss\_cls \textless{}nan",
        r"\textless{}0.001",
    ):
        assert words in body, words
    assert r"\ensuremath{\hookrightarrow} baseline (loss scale)" in body
    bold = [line for line in text.splitlines() if r"\textbf" in line]
    better = ("\\_\\allowbreak{}focal", "baseline (loss scale)", "pretrained")
    assert bold and all(any(name in line for name in better) for line in bold)
    assert text.count(r"\textbf{better}") == 3
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == text.count(rf"\end{{{environment}}}") == 4
    for line in body.splitlines():
        cells = len(re.findall(r"(?<!\\)&", line))
        assert not line.endswith(r"\\") or cells in (1, 3, 4, 6, 7), line


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here")
def test_latex_compiles_and_fits_an_article(written, tmp_path):
    source = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{%s}\\end{document}"
    (tmp_path / "main.tex").write_text(source % written["tex"])
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b", r"a\_b"),
        ("50 % & #1 $x$", r"50 \% \& \#1 \$x\$"),
        ("\\{~^}", r"\textbackslash{}\{\textasciitilde{}\textasciicircum{}\}"),
        ("--x [1]*", r"-{}-x {[}1{]}{*}"),
        ("×2 ± 1", r"\ensuremath{\times}2 \ensuremath{\pm} 1"),
        ("two\nlines", "two lines"),
    ],
)
def test_latex_escapes(text, expected):
    assert formats.escape(text) == expected


def test_terminal_text_has_every_arm_and_its_verdict(comparison):
    text = terminal(comparison)
    assert "+0.40 to +2.07" in text and "no evidence" in text and "↳ baseline (loss" in text
    lines = [line.removeprefix("↳ ") for line in text.splitlines()]
    for result in comparison.arms:
        assert any(line.startswith(one_line(result.arm.name)) for line in lines), result.arm.name


def test_equal_comparisons_give_equal_bytes(comparison, written, tmp_path):
    again = write_comparison(copy.deepcopy(comparison), tmp_path)
    assert all(again[key].read_bytes() == written[key].read_bytes() for key in FILES)


def test_reports_replace_those_that_are_there(tmp_path):
    (tmp_path / "report.md").write_text("an earlier page")
    comparison = Comparison("new", "c", [ArmResult(Arm("baseline"))], [0])
    assert "earlier page" not in write_comparison(comparison, tmp_path)["md"].read_text(encoding="utf-8")


def test_one_seed_makes_no_claim(arm_of, tmp_path, read_page):
    arms = [arm_of("baseline", seeds=(7,)), arm_of("x", "one seed: no claim", seeds=(7,), shift=0.1)]
    written = write_comparison(Comparison("once", "c", arms, [7]), tmp_path)
    read_page(written["html"])
    for key in ("html", "md"):
        text = table_text(written[key].read_text(encoding="utf-8"))
        assert "One seed: no claim." in text and "20.0 ±" not in text and "nan" not in text
    assert "±" not in terminal(Comparison("once", "c", arms, [7]))
    assert r"\textbf" not in written["tex"].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arms",
    [
        [ArmResult(Arm("baseline"))],
        [ArmResult(Arm("baseline"), failures=[(0, "")]), ArmResult(Arm("x"))],
        [
            ArmResult(Arm("baseline"), seeds=[0], values={"AP": [0.1]}, means={"AP": 0.1}),
            ArmResult(Arm("x"), seeds=[0]),
        ],
        [ArmResult(Arm("x"), seeds=[0], means={"AP": None, "new": 0.5}, deviations={})],
    ],
)
def test_comparisons_that_lack_almost_everything(arms, tmp_path, read_page):
    comparison = Comparison("little", "c", arms, [0])
    written = write_comparison(comparison, tmp_path)
    read_page(written["html"])
    assert all(arm.arm.name in terminal(comparison) for arm in arms)
    assert "No images were chosen" in written["html"].read_text(encoding="utf-8")


def test_no_arms_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the comparison 'none' has no arms"):
        write_comparison(Comparison("none", "c", [], [0]), tmp_path)
