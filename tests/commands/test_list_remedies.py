"""imbdet list_remedies, and the tables in docs/remedies/index.md and the README."""

import re
from pathlib import Path

import pytest

from imbdet.commands.list_remedies import main
from imbdet.remedies import index

ROOT = Path(__file__).resolve().parents[2]


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
    (tmp_path / "docs" / "remedies").mkdir(parents=True)
    for page in index.PAGES:
        (tmp_path / page).write_text(f"above\n{index.BEGIN}\nan old row\n{index.END}\nbelow\n")
    main(["--write", str(tmp_path)])
    texts = {page: (tmp_path / page).read_text() for page in index.PAGES}
    for page, text in texts.items():
        assert text.startswith("above\n") and text.endswith("\nbelow\n") and "an old row" not in text
        assert index.PAGES[page]() in text
    main(["--write", str(tmp_path)])
    assert texts == {page: (tmp_path / page).read_text() for page in index.PAGES}
    assert capsys.readouterr().out.count("up to date") == len(index.PAGES)
    (tmp_path / "README.md").write_text("no markers")
    with pytest.raises(ValueError, match="README.md must hold the lines <!-- remedies:begin -->"):
        main(["--write", str(tmp_path)])
    with pytest.raises(ValueError, match="needs a checkout of imbdet, '.*README.md' has no docs/remedies/index.md"):
        main(["--write", str(tmp_path / "README.md")])


@pytest.mark.parametrize("page", index.PAGES)
def test_no_table_is_stale(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert index.with_table(text, page) == text, "run: python tools/list_remedies.py --write"


def test_links_of_both_tables_lead_somewhere():
    page = index.index_markdown()
    links = re.findall(r"\]\(\.\./\.\./([^)]+)\)", page)
    assert len(links) == 3 * len(index.entries()) and all((ROOT / link).is_file() for link in links)
    anchors = re.findall(r"\]\(docs/remedies/index\.md#(\w+)\)", index.summary_markdown())
    assert len(anchors) == len(index.entries()) + len(index.IMBALANCES)
    assert all(f'<a id="{name}"></a>{name} |' in page or f"## {name}\n" in page for name in anchors)


def test_imbalances_without_remedies_have_no_row():
    (entry, *_) = index.entries()
    assert index.summary_markdown([entry]).count("\n") == 2 and index.index_markdown([entry]).count("## ") == 1
