"""imbdet remedy: what it prints of a shipped remedy and of a file of one's own."""

from pathlib import Path

import pytest

from imbdet.commands.remedy import main

ROOT = Path(__file__).resolve().parents[2]


def test_a_shipped_remedy_has_formula_diff_files_and_pages(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    main(["focal_loss"])
    out = capsys.readouterr().out
    assert "Neutral: " in out and "model.criterion.classification" in out and "-k focal_loss" in out
    files = [line.strip() for line in out.splitlines() if line.strip().endswith((".py", ".md"))]
    assert len(files) == 5 and all(Path(name).is_file() for name in files)
    assert files[3:] == ["docs/remedies/class_fg_bg.md", "docs/remedies/index.md"]


def test_a_file_of_ones_own_has_its_diff(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text('baseline = "baselines/faster_rcnn_shapes"\n\ndef apply(cfg):\n    cfg.model.nms_threshold = 0.4\n')
    main([str(path)])
    out = capsys.readouterr().out
    assert "model.nms_threshold: 0.5 -> 0.4" in out and "Read about it" not in out


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="did you mean .focal_loss."):
        main(["focal_los"])
