"""`--remedy NAME@rpn`: a remedy for the criterion of the RPN, as it would be on a dense head."""

import re

import pytest
import torch

from imbdet.config import changed_paths, instantiate, load_config, save_config
from imbdet.remedies.index import entries, home_baseline
from imbdet.testing import batch

TWO = "baselines/faster_rcnn_shapes"
SMALL = ["model.backbone.widths=[8, 8, 8, 8, 8]", "model.neck.channels=8", "model.roi_heads.box_head.widths=[16, 16]"]


def test_only_the_rpns_criterion_changes():
    cfg = load_config(TWO, ["giou_loss@rpn"])
    assert changed_paths(load_config(TWO), cfg) == [
        "model.rpn.criterion.regression",
        "model.rpn.criterion.regression_weight",
        "remedies",
    ]
    assert cfg.model.rpn.criterion.regression_weight == 2.0, "that of a dense head, whose deltas have no factor of 10"
    assert list(cfg.remedies) == ["giou_loss@rpn"]


def test_a_remedy_may_stand_in_both_places():
    cfg = load_config(
        TWO, ["focal_loss", "focal_loss@rpn", "iou_balanced_sampling@rpn", "instance_balanced_sampling@rpn"]
    )
    rpn, roi = cfg.model.rpn.criterion, cfg.model.roi_heads.criterion
    assert rpn.classification._target_ == roi.classification._target_
    assert rpn.region_sampler.background._target_.endswith("IoUBalancedSampling") and rpn.region_sampler.per_image == 64
    with pytest.raises(ValueError, match="'focal_loss@rpn' and 'cross_entropy@rpn' both"):
        load_config(TWO, ["focal_loss@rpn", "cross_entropy@rpn"])


@pytest.mark.parametrize("remedy", ["softmax_focal_loss", "giou_loss", "ohem"])
def test_the_rpn_trains_and_proposes_with_it(remedy):
    """The softmax has two logits an anchor, of which the score of the object ranks the proposals."""
    cfg = load_config(TWO, [f"{remedy}@rpn"], SMALL)
    cfg.model.num_classes = 10
    model = instantiate(cfg.model).train()
    losses, stats = model(*batch(3, 0, size=64))
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.rpn.parameters())
    assert model.rpn.head.logits == (2 if remedy == "softmax_focal_loss" else 1)
    model.eval()
    with torch.no_grad():
        assert len(model(batch(2, size=64)[0])) == 1


@pytest.mark.slow
def test_a_saved_config_knows_the_place(tmp_path):
    save_config(load_config(TWO, ["focal_loss@rpn"]), tmp_path / "config.yaml")
    again = load_config(tmp_path, ["giou_loss"])
    assert list(again.remedies) == ["focal_loss@rpn", "giou_loss"]
    with pytest.raises(ValueError, match="both"):
        load_config(tmp_path, ["cross_entropy@rpn"])


@pytest.mark.parametrize(
    ("remedy", "reason"),
    [
        ("cascade_rcnn@rpn", "it fills roi_heads; the RPN's criterion has matcher"),
        ("class_weights@rpn", "the RPN tells objects from background alone"),
        ("location_weighting@rpn", "it goes by class_counts and class_dimensions, numbers of each class"),
        ("kl_loss@rpn", "it also changes model.voting, outside of the RPN's criterion"),
        ("focal_loss@roi", "'roi' is not a place for a remedy; there is rpn"),
        ("focal_los@rpn", "unknown remedy 'focal_los'; did you mean 'focal_loss'"),
        ("combined/libra_rcnn@rpn", "its file names no slot"),
    ],
)
def test_refused_with_a_reason(remedy, reason):
    with pytest.raises(ValueError, match=reason):
        load_config(TWO, [remedy])


def test_one_stage_has_no_rpn():
    with pytest.raises(ValueError, match="needs an RPN .* 'baselines/retinanet_shapes' does not have"):
        load_config("baselines/retinanet_shapes", ["focal_loss@rpn"])
    assert home_baseline("focal_loss@rpn") == TWO and home_baseline("focal_loss") == "baselines/retinanet_shapes"


NAMES = list(dict.fromkeys(entry.name for entry in entries()))


@pytest.mark.slow
@pytest.mark.parametrize("remedy", NAMES)
def test_every_remedy_acts_on_the_rpn_or_says_why_not(remedy):
    """Of one class all values and gradients are finite; what knows classes is refused, whatever its folder."""
    try:
        cfg = load_config(TWO, [f"{remedy}@rpn"], SMALL)
    except ValueError as error:
        assert re.search("it fills |it also changes |the RPN tells objects from background alone", str(error)), error
        return
    cfg.model.num_classes = 10
    torch.manual_seed(0)
    model = instantiate(cfg.model).train()
    assert model.rpn.head.logits in (1, 2) and model.rpn.criterion.num_classes == 1
    losses, _ = model(*batch(3, 0, size=64))
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in model.rpn.parameters())
