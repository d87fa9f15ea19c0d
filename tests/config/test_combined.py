"""The published bundles: what is more in them than the remedies that they list."""

import pytest
import torch

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.modeling.heads import Cosine

SMALL = ["data.train.num_images=12", "model.backbone.widths=[8,8,8,8,8]", "model.neck.channels=8"]


def build(name):
    cfg = load_config(f"combined/{name}", [], SMALL)
    torch.manual_seed(0)
    return cfg, instantiate(cfg.model).train()


def test_rank_sort_balances_both_heads_and_counts_the_rpn_a_fifth():
    """Every box loss has the size of its ranking loss; the latter is at most 1 of the RoIs' and 0.2 of the RPN's."""
    cfg, model = build("rank_sort_faster_rcnn")
    losses, stats = model(*testing.batch(3, 1, size=64))
    assert losses["loss_rpn_loc"].item() == pytest.approx(losses["loss_rpn_cls"].item())
    assert losses["loss_box_reg"].item() == pytest.approx(losses["loss_cls"].item())
    assert 0 < losses["loss_rpn_cls"] <= 0.2 * 2 and cfg.model.rpn.criterion.box_coder.weights == [10, 10, 5, 5]
    rpn, roi = stats["rpn/regions"].matched, stats["roi/regions"].matched
    assert rpn.considered.sum() > 64 * 2, "anchors are not sampled"
    assert len(roi) > 64 * 2, "and neither are proposals"


def test_bags_trains_the_classifier_alone():
    cfg, model = build("bags_as_published")
    model.freeze(list(cfg.train.freeze))
    learning = [name for name, value in model.named_parameters() if value.requires_grad]
    assert learning == [f"roi_heads.box_predictor.cls_score.{one}" for one in ("weight", "bias")]
    assert cfg.optimizer.lr == 0.5 * load_config("baselines/faster_rcnn_shapes").optimizer.lr


def test_seesaw_has_its_cosine_classifier():
    assert isinstance(build("seesaw_as_published")[1].roi_heads.box_predictor.cls_score, Cosine)
