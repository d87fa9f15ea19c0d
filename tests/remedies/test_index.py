"""Reading remedies' docstrings."""

from imbdet.remedies import index

SOURCE = '''
"""A file."""

class Focal:
    """Deed in one line.

    Slot: classification, weighting
    Imbalance: class_fg_bg
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
    assert entry.fields["Source"] == "Lin et al. 2017, arXiv 1708.02002"
    assert entry.fields["Differs"] == "nothing"


def test_tables_hold_every_remedy():
    for entry in index.entries():
        assert entry.name in index.remedy_table(index.entries())
        assert f"[{entry.name}](configs/remedies/{entry.imbalance}/{entry.name}.py)" in index.remedy_table_markdown()
    assert index.remedy_table([]) == "no remedy matches"


def test_slots_needed():
    assert index.slots_needed("focal_loss") == ("classification",)
    assert index.slots_needed("no_such_remedy") == ()
