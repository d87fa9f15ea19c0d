"""imbdet plot_losses: the picture, and the imbalance that it shows."""

import re
from pathlib import Path

import pytest

from imbdet.commands.plot_losses import main
from imbdet.remedies import index
from imbdet.report.losses import draw, losses_of, outliers_share, shifted, stretched

ROOT = Path(__file__).resolve().parents[2]
NAMES = [entry.name for entry in index.choose("regression", "spatial_regression")]
FORMS = ("dfl", "sabl")  # their outputs are no deltas


@pytest.fixture(scope="module")
def losses():
    wanted = ("l2_loss", "smooth_l1_loss", "l1_loss", "ghm_r", "kl_loss", "giou_loss", "iou_loss")
    return {loss.name: loss for loss in losses_of("baselines/faster_rcnn_shapes", wanted)}


def test_it_writes_a_picture_that_names_the_losses(tmp_path, capsys):
    out = tmp_path / "two.svg"
    main(["--loss", "l2_loss", "--loss", "giou_loss", "--out", str(out)])
    text = out.read_text()
    assert text.startswith("<?xml") and all(f">{name}<" in text for name in ("l2", "giou"))
    assert "Losses on deltas" in text and "Losses on boxes" in text and ">0.82<" in text, "texts are not rounded"
    printed = capsys.readouterr().out
    assert re.search(r"giou +10 ", printed) and f"written to {out}" in printed


def test_one_family_alone_and_png(tmp_path, losses):
    draw([losses["l1"]], tmp_path / "one.png", points=10)
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_users_mistakes(tmp_path, losses):
    with pytest.raises(ValueError, match="'focal_loss' is not a regression loss; they are alpha_iou_loss, "):
        losses_of("baselines/faster_rcnn_shapes", ["focal_loss"])
    with pytest.raises(ValueError, match="'dfl' cannot be drawn: its outputs are 68 values"):
        losses_of("baselines/faster_rcnn_shapes", ["dfl"])
    with pytest.raises(ValueError, match="must end in .svg, .png, .pdf"):
        draw(list(losses.values()), tmp_path / "losses.gif")
    with pytest.raises(ValueError, match="there is no loss"):
        draw([], tmp_path / "losses.svg")


def test_the_weights_are_the_detectors():
    (loss,) = losses_of("baselines/retinanet_shapes", ["giou_loss"])
    assert loss.weight == 2.0 and loss.on_boxes and loss.box_coder.weights == (1, 1, 1, 1)


def test_the_imbalance_of_the_l2_example(losses):
    """The worst tenth of the boxes has its tenth of L1's gradient, more of smooth L1's and most of L2's, where the
    gradient is the error itself.
    """
    share = {name: outliers_share(loss) for name, loss in losses.items()}
    assert share["l1"] == pytest.approx(0.1, abs=1e-4)
    assert share["l2"] == pytest.approx(0.1 * 10 / (0.1 * 10 + 0.9), abs=0.03)
    assert share["l2"] > share["smooth_l1"] > share["l1"] > share["giou"]
    shift, values, gradient = shifted(losses["l2"], 0.3, 30)
    assert (gradient / shift).tolist() == pytest.approx([10.0] * 30, rel=1e-4)
    assert values.tolist() == pytest.approx((50 * shift**2).tolist(), rel=1e-4)


def test_a_loss_with_a_running_state_is_drawn_the_same_twice(losses):
    assert outliers_share(losses["ghm_r"]) == outliers_share(losses["ghm_r"])
    assert losses["ghm_r"].value.counts.sum() == 0


def test_curves_against_iou_by_hand(losses):
    """Shifted by s widths the IoU is (1 - s) / (1 + s); twice as wide it is 1/2. Weight 10."""
    shift, values, gradient = shifted(losses["giou"], 2.0, 4)  # 0.5, 1, 1.5, 2
    assert values.tolist() == pytest.approx([20 / 3, 10, 10 * (2 - 2 / 2.5), 10 * (2 - 2 / 3)], rel=1e-4)
    assert (gradient > 0).all() and (shifted(losses["iou"], 2.0, 4)[2][2:] == 0).all()
    width, values, _ = stretched(losses["giou"], 2.0, 2)
    assert width.tolist() == pytest.approx([0.5, 2.0]) and values.tolist() == pytest.approx([5.0, 5.0], rel=1e-4)


def test_the_docs_have_a_section_for_each():
    text = (ROOT / "docs" / "remedies" / "spatial_regression.md").read_text(encoding="utf-8")
    assert all(f"\n### {name}\n" in text for name in NAMES)
    picture = (ROOT / "docs" / "images" / "regression-losses.svg").read_text(encoding="utf-8")
    drawn = [name.removesuffix("_loss") for name in NAMES if name not in FORMS]
    assert all(f">{name}<" in picture for name in drawn), "run: python tools/plot_losses.py"
