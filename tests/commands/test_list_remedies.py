"""imbdet list_remedies, and the table in the README."""

from pathlib import Path

import pytest

from imbdet.commands.list_remedies import main
from imbdet.remedies import index

README = Path(__file__).resolve().parents[2] / "README.md"


def test_filters(capsys):
    main([])
    assert "focal_loss" in capsys.readouterr().out
    main(["--slot", "classification", "--imbalance", "class_fg_bg", "--detector", "retinanet_shapes"])
    assert "focal_loss" in capsys.readouterr().out
    main(["--slot", "classification", "--imbalance", "scale"])
    assert "focal_loss" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="unknown slot 'x'; known are balance"):
        main(["--slot", "x"])
    with pytest.raises(ValueError, match="unknown imbalance 'y'; known are class_fg_bg"):
        main(["--imbalance", "y"])
    with pytest.raises(FileNotFoundError, match="did you mean baselines/retinanet_shapes"):
        main(["--detector", "retinanet_shape"])


def test_writing_between_the_markers(tmp_path, capsys):
    path = tmp_path / "README.md"
    path.write_text(f"above\n{index.BEGIN}\nan old row\n{index.END}\nbelow\n")
    main(["--write", str(path)])
    text = path.read_text()
    assert text.startswith("above\n") and text.endswith("\nbelow\n") and "an old row" not in text
    assert index.remedy_table_markdown() in text
    main(["--write", str(path)])
    assert path.read_text() == text and "up to date" in capsys.readouterr().out
    path.write_text("no markers")
    with pytest.raises(ValueError, match="must hold the lines <!-- remedies:begin -->"):
        main(["--write", str(path)])


def test_the_readme_is_not_stale():
    text = README.read_text(encoding="utf-8")
    assert index.with_table(text, "README.md") == text, "run: python tools/list_remedies.py --write README.md"
