"""Reading remedies' docstrings."""

import re
from pathlib import Path

import pytest

from imbdet.remedies import index

ROOT = Path(__file__).resolve().parents[2]

SOURCE = '''
"""A file."""

class Focal:
    """Deed in one line.

    Slot: classification, weighting
    Imbalance: class_fg_bg
    Home: retinanet; made for
        dense heads
    Source: Lin et al. 2017,
        arXiv 1708.02002
    Neutral: gamma=0
    Differs: nothing

    Args:
        gamma: Slot: is no field here.
    """

class _Private:
    """Slot: objective"""

def helper():
    """No slot."""
'''


def test_fields_of_a_file(tmp_path):
    folder = tmp_path / "class_fg_bg"
    folder.mkdir()
    (folder / "focal.py").write_text(SOURCE)
    (entry,) = index.read_file(folder / "focal.py")
    assert (entry.name, entry.imbalance, entry.deed) == ("focal", "class_fg_bg", "Deed in one line.")
    assert entry.target == "imbdet.remedies.class_fg_bg.focal.Focal"
    assert entry.slots == ("classification", "weighting")
    assert entry.home == "retinanet" and entry.fields["Home"] == "retinanet; made for dense heads"
    assert entry.fields["Source"] == "Lin et al. 2017, arXiv 1708.02002"
    assert entry.fields["Differs"] == "nothing"


def test_tables_hold_every_remedy():
    for entry in index.entries():
        assert entry.name in index.remedy_table(index.entries())
        assert f"[config](../../configs/remedies/{entry.imbalance}/{entry.name}.py)" in index.index_markdown()
    assert index.remedy_table([]) == "no remedy matches"


def test_slots_needed():
    assert index.slots_needed("focal_loss") == ("classification",)
    assert index.slots_needed("no_such_remedy") == ()


@pytest.mark.parametrize(
    "name, data, expected",
    [
        ("focal_loss", "shapes", "baselines/retinanet_shapes"),
        ("kl_loss", "lite0_custom", "baselines/faster_rcnn_lite0_custom"),
        ("class_fg_fg/class_weights", "shapes", "baselines/faster_rcnn_shapes"),  # for either: its config's detector
        ("random_sampling", "r50_coco", "baselines/retinanet_r50_coco"),
    ],
)
def test_home_baseline(name, data, expected):
    assert index.home_baseline(name, data) == expected


def test_home_baseline_of_a_file_and_of_unknown_data(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('baseline = "baselines/faster_rcnn_shapes"\n\ndef apply(cfg):\n    cfg.model.nms_threshold = 0.4\n')
    assert index.home_baseline(str(path), "r50_coco") == "baselines/faster_rcnn_r50_coco"
    with pytest.raises(ValueError, match="no baseline of retinanet on 'lvis'; there are baselines/"):
        index.home_baseline("focal_loss", "lvis")


def test_each_remedy_has_its_paragraph_on_a_page():
    """Besides the generated table: with formula, use, cost and source, in backquotes, in a heading, or as the page."""
    pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "remedies").glob("*.md")}
    written = {stem: text for stem, text in pages.items() if stem not in ("index", "cost", "left_out")}
    text = "\n".join(written.values())
    named = {entry.name: rf"`{entry.name}`|^## {entry.name}$|\*\*{entry.name}\*\*" for entry in index.entries()}
    missing = [name for name, form in named.items() if name not in written and not re.search(form, text, re.M)]
    assert not missing, f"no page of docs/remedies has {', '.join(missing)}"
