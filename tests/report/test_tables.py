"""Rows and sentences from a result, and what is said where a number does not exist."""

import pytest

from imbdet.report import tables
from imbdet.report.numbers import points


@pytest.mark.parametrize(
    ("value", "text"), [(0.50458, "50.5"), (0.0, "0.0"), (-1.0, "–"), (None, "–"), (float("nan"), "–")]
)
def test_points(value, text):
    assert points(tables.number(value), 1) == text


def test_headlines_leave_out_what_the_result_lacks():
    names = [name for name, _, _ in tables.headlines({"AP": 0.5, "APr": -1.0})]
    assert names == ["AP", "APr"]
    assert tables.headlines({}) == [] and tables.size_rows({"APs": 0.1})[0][:2] == ("APs", 0.1)


def test_class_rows_have_the_frequent_first():
    rows = [
        {"name": "few", "AP": 0.2, "AP50": 0.3, "boxes": 4, "train_boxes": 5, "group": "rare"},
        {"name": "many", "AP": None, "AP50": None, "boxes": 0, "train_boxes": 50, "group": "frequent"},
    ]
    found = tables.class_rows({"per_class": rows})
    assert [(row.name, row.ap, row.train, row.val, row.group) for row in found] == [
        ("many", None, 50, 0, "frequent"),
        ("few", 0.2, 5, 4, "rare"),
    ]
    assert tables.class_rows({}) == []
    assert tables.class_rows({"per_class": [{"name": "x", "AP": 0.1, "boxes": 3}]})[0].train is None


def test_summary_says_what_the_imbalance_costs():
    classes = [{"name": "few", "train_boxes": 5}, {"name": "many", "train_boxes": 50}]
    text = tables.summary({"APr": 0.2, "APf": 0.6, "per_class": classes})
    assert "10 times" in text and "(50 and 5)" in text and "worse than frequent ones by 40.0 points" in text
    assert "better" in tables.summary({"APr": 0.7, "APf": 0.6, "per_class": classes})
    assert "equally well" in tables.summary({"APr": 0.6, "APf": 0.6, "per_class": classes})
    assert tables.summary({"APr": -1, "APf": 0.6, "per_class": classes}) == ""
    assert tables.summary({}) == ""


def test_environment_is_flat_text():
    rows = tables.environment_rows(
        {
            "packages": {"torch": "2.9", "numpy": "2.0"},
            "gpu": None,
            "command": ["train.py", "a=1"],
            "git_commit": "abc",
            "resumed": [{"iteration": 40}, {"iteration": 80}],
        }
    )
    assert dict(rows) == {
        "packages": "torch 2.9, numpy 2.0",
        "command": "train.py a=1",
        "git commit": "abc",
        "resumed": "at iteration 40, 80",
    }
