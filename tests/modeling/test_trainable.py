"""Freezing and resetting by pattern: what is chosen, what learns, what a checkpoint fills."""

import pytest
import torch
from torch import nn

from imbdet import testing
from imbdet.config import instantiate, load_config
from imbdet.modeling.trainable import entries_to_reset, freeze, matching

NAMES = ["backbone.stem.weight", "backbone.stem.bias", "head.cls_score.weight", "head.bbox_pred.weight"]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ([], []),
        (["backbone"], [0, 1]),
        (["*.bias"], [1]),
        (["*", "!head.cls_score"], [0, 1, 3]),
        (["*", "!*.cls_score"], [0, 1, 3]),
        (["head.*", "!head.bbox_pred", "backbone.stem.bias"], [1, 2]),
    ],
)
def test_patterns(patterns, chosen):
    assert matching(NAMES, patterns, "train.freeze") == [NAMES[i] for i in chosen]


def test_a_pattern_that_chooses_nothing_names_the_nearest():
    with pytest.raises(ValueError, match=r"train.freeze: no parameter or module is called 'backbon'; .*'backbone'"):
        matching(NAMES, ["backbon"], "train.freeze")


def small():
    torch.manual_seed(0)
    cfg = load_config("baselines/faster_rcnn_shapes")
    cfg.model.num_classes = 3
    return instantiate(cfg.model)


def test_only_the_classifier_learns_and_frozen_norms_rest():
    model = small().train()
    model.freeze(["*", "!*.cls_score"])
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms and not any(norm.training for norm in norms)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.eval()
    model.train()  # as after an evaluation
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5)
    sum(model(*testing.batch(2, 1, size=64))[0].values()).backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"roi_heads.box_predictor.cls_score.{part}" for part in ("weight", "bias")}


def test_a_norm_of_which_a_part_learns_goes_on():
    norm = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    assert freeze(norm, ["0", "1.weight"]) == [norm[0]]


def test_entries_to_reset_are_copies():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    kept = entries_to_reset(model, ["1", "!1.bias"])
    assert set(kept) == {"1.weight", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    with torch.no_grad():
        model[1].weight.fill_(5.0)
    assert (kept["1.weight"] == 1).all()
