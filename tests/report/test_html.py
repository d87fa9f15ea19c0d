"""The page: whole, alone (no script, nothing from elsewhere), escaped, and honest about what is missing."""

import json
import re
from pathlib import Path

import pytest

from imbdet.report import write_report
from imbdet.report.html import from_here

DIFFERENCES = ["model.x: <Old> -> New"]


@pytest.fixture(scope="module")
def page(tmp_path_factory, make_run_dir, val_records, val_detections):
    """Written once; the folder it goes to does not exist before."""
    folder = tmp_path_factory.mktemp("report")
    run = make_run_dir(folder)
    return write_report(run, folder / "new" / "page.html", val_records, val_detections, DIFFERENCES)


def test_page_is_well_formed_and_alone(page, read_page):
    reader = read_page(page)
    assert "script" not in reader.tags
    assert reader.addresses and all(address.startswith(("data:", "#")) for address in reader.addresses)
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"url\((?!#)[^)]*\)|@import", text)
    assert sorted(p.name for p in page.parent.iterdir()) == ["page.html"]  # no temporary file is left


def test_page_shows_numbers_classes_pictures_and_config(page, run_dir, val_records):
    result = json.loads((run_dir / "result.json").read_text())["evaluation"]
    text = page.read_text(encoding="utf-8")
    assert f"<b>{100 * result['AP']:.1f}</b>" in text
    for name in val_records.class_names:
        assert f"<td>{name}</td>" in text
    assert text.count("<image ") == 12
    for words in ("Training loss", "focal_loss", "max_iter: 100", "torch 2.9.0", "23 November 2026", "2 threads"):
        assert words in text, words


def test_names_are_escaped(page):
    text = page.read_text(encoding="utf-8")
    assert "a &lt;run&gt;" in text and "<run>" not in text
    assert "model.x: &lt;Old&gt; -&gt; New" in text


def test_ids_in_the_page_are_unique(page):
    ids = re.findall(r'\sid="([^"]+)"', page.read_text(encoding="utf-8"))
    assert ids and len(ids) == len(set(ids))


def test_run_without_evaluation_or_detections(run_dir, tmp_path):
    for name in ("result.json", "environment.json", "config.yaml"):
        (run_dir / name).unlink()
    text = write_report(run_dir, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "has not been evaluated" in text and "no detections.json" in text and "Training loss" in text


def test_detections_file_of_the_run_is_used_and_an_unchanged_config_said(
    run_dir, val_records, val_detections, tmp_path
):
    val_detections.save(run_dir / "detections.json", val_records.category_ids)
    page = write_report(run_dir, tmp_path / "page.html", records=val_records, differences=[], max_pictures=3)
    text = page.read_text(encoding="utf-8")
    assert text.count("<image ") == 3 and "its baseline, unchanged" in text


@pytest.mark.slow
def test_equal_runs_give_equal_pages(page, run_dir, val_records, val_detections, tmp_path):
    again = write_report(run_dir, tmp_path / "again.html", val_records, val_detections, DIFFERENCES)
    assert again.read_bytes() == page.read_bytes()


def test_errors_name_the_folder(tmp_path, run_dir):
    with pytest.raises(FileNotFoundError, match="no run folder .*nowhere"):
        write_report(tmp_path / "nowhere", tmp_path / "page.html")
    with pytest.raises(FileNotFoundError, match="neither metrics.jsonl nor result.json"):
        write_report(tmp_path, tmp_path / "page.html")
    (run_dir / "result.json").write_text("{")
    with pytest.raises(ValueError, match="result.json is not valid JSON"):
        write_report(run_dir, tmp_path / "page.html")


def test_remedies_are_named_without_the_folders_above():
    assert from_here("focal_loss") == "focal_loss" and from_here(str(Path.cwd() / "mine" / "a.py")) == "mine/a.py"
    assert from_here("/somewhere/else/b.py") == "b.py"
