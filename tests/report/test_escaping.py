"""What a stranger may have written (class names, file names, config values, a run's folder) is text on the pages."""

import copy
import dataclasses
import json

from imbdet.report import write_report
from imbdet.report.comparison import write_comparison

SCRIPT = "<script>alert(1)</script>"


class Named:
    """Pictures of another source, called by a script."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]

    def name(self, index):
        return f"{SCRIPT}{index}.jpg"


def is_text(path, read_page):
    """Whether the page has the script as text and no script of any kind."""
    page = path.read_text(encoding="utf-8")
    return "&lt;script&gt;alert(1)" in page and "<script" not in page and "script" not in read_page(path).tags


def test_in_the_page_of_a_run(run_dir, val_records, val_detections, tmp_path, read_page):
    first = val_records.class_names[0]
    result = (run_dir / "result.json").read_text().replace(json.dumps(first), json.dumps(SCRIPT))
    (run_dir / "result.json").write_text(result)
    (run_dir / "config.yaml").write_text(f"train:\n  output_dir: '{SCRIPT}value'\nremedies: ['{SCRIPT}remedy']\n")
    names = (SCRIPT, *val_records.class_names[1:])
    records = dataclasses.replace(val_records, class_names=names, images=Named(val_records.images))
    found = copy.copy(val_detections)
    found.class_names = names
    page = write_report(run_dir, tmp_path / "page.html", records, found, [f"model.x: {SCRIPT} -> 1"])
    assert is_text(page, read_page)
    text = page.read_text(encoding="utf-8")
    assert "&lt;/script&gt;value" in text and "&lt;td&gt;" not in text
    assert text.count("&lt;script&gt;") > 5  # classes, pictures, config and differences


def test_in_the_page_of_a_comparison(comparison, tmp_path, read_page):
    changed = copy.deepcopy(comparison)
    changed.title, changed.facts, changed.notes = f"{SCRIPT}1", [(f"{SCRIPT}2", f"{SCRIPT}3")], [f"{SCRIPT}4"]
    for row in (row for one in changed.arms for row in one.per_class):
        row["name"] = row["name"].replace("<bike>", f"{SCRIPT}5")
    changed.arms[2].arm = dataclasses.replace(changed.arms[2].arm, name=f"{SCRIPT}6", overrides=(f"{SCRIPT}7",))
    changed.arms[-1].failures = [(0, f"{SCRIPT}8")]
    path = write_comparison(changed, tmp_path)["html"]
    assert is_text(path, read_page)
    text = path.read_text(encoding="utf-8").replace("<wbr>", "")
    for place in range(1, 9):
        assert f"&lt;/script&gt;{place}" in text, place
