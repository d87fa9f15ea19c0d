"""Rows of last layers go to the class of the same name: by a naive loop, in every head, and from detectron2."""

import pytest
import torch
from torch import nn

from imbdet.config import instantiate, load_config
from imbdet.modeling.class_rows import rows_by_name
from imbdet.modeling.detectron2_weights import load_detectron2_weights
from imbdet.modeling.heads import BoxPredictor, RetinaNetHead

THEIRS, OURS = ["cat", "dog", "cow"], ["dog", "elk", "cat", "bee"]
PLACE = {0: 1, 2: 0}  # ours -> theirs


def random_state(model):
    return {name: torch.randn(value.shape).to(value.dtype) for name, value in model.state_dict().items()}


def moved(old_model, new_model, theirs=THEIRS, ours=OURS):
    weights = random_state(old_model)
    return weights, *rows_by_name(new_model, weights, theirs, ours)


def test_retinanet_by_a_naive_loop():
    """Row a*K + k of anchor a and class k, weights and bias; a new class keeps its row."""
    old, new = RetinaNetHead(8, 2, 3, convs=1), RetinaNetHead(8, 2, 4, convs=1)
    weights, got, lines = moved(old, new)
    for part in ("weight", "bias"):
        expected = getattr(new.cls_score, part).detach().clone()
        for a in range(2):
            for k, j in PLACE.items():
                expected[a * 4 + k] = weights[f"cls_score.{part}"][a * 3 + j]
        assert torch.equal(got[f"cls_score.{part}"], expected)
    rest = [name for name in got if not name.startswith("cls_score")]
    assert all(got[name] is weights[name] for name in rest)
    assert lines == ["kept by name: 'dog', 'cat'", "initial values: 'elk', 'bee'", "not used: 'cow'"]


@pytest.mark.parametrize("logits", [0, 1])
def test_box_predictor_by_a_naive_loop(logits):
    """Logits, deltas and extra values of each class; the background starts anew."""
    old, new = BoxPredictor(8, 3, 3 + logits, extra=2), BoxPredictor(8, 4, 4 + logits, extra=2)
    weights, got, lines = moved(old, new)
    for layer, each in (("cls_score", 1), ("bbox_pred", 4), ("bbox_extra", 2)):
        expected = getattr(new, layer).weight.detach().clone()
        for k, j in PLACE.items():
            for v in range(each):
                expected[k * each + v] = weights[f"{layer}.weight"][j * each + v]
        assert torch.equal(got[f"{layer}.weight"], expected)
    assert ("'the background'" in lines[1]) == bool(logits)


def test_the_same_classes_in_another_order_keep_the_background():
    old, new = BoxPredictor(8, 3, 4), BoxPredictor(8, 3, 4)
    weights, got, lines = moved(old, new, ours=["cow", "cat", "dog"])
    assert torch.equal(got["cls_score.weight"], weights["cls_score.weight"][[2, 0, 1, 3]])
    assert torch.equal(got["bbox_pred.bias"].view(3, 4), weights["bbox_pred.bias"].view(3, 4)[[2, 0, 1]])
    assert lines[0] == "kept by name: 'cow', 'cat', 'dog', 'the background'" and lines[1] == "initial values: none"
    assert rows_by_name(new, weights, THEIRS, THEIRS) == (weights, [])


def test_one_set_of_deltas_for_all_classes_stays():
    old, new = BoxPredictor(8, 1, 4), BoxPredictor(8, 1, 5)
    weights, got, _ = moved(old, new)
    assert got["bbox_pred.weight"] is weights["bbox_pred.weight"]
    assert torch.equal(got["cls_score.bias"][[0, 2]], weights["cls_score.bias"][[1, 0]])


def test_names_that_do_not_fit_the_rows_are_refused():
    old, new = BoxPredictor(8, 5, 6), BoxPredictor(8, 4, 5)
    with pytest.raises(ValueError, match="cls_score.weight has rows of 6 logits, which do not fit 3 class names"):
        moved(old, new)


@pytest.mark.parametrize(
    ("config", "remedies", "layers"),
    [
        ("baselines/retinanet_shapes", [], ["head.cls_score"]),
        ("baselines/retinanet_shapes", ["hierarchical_shot"], ["steps.1.classify.0"]),
        ("baselines/faster_rcnn_shapes", [], ["roi_heads.box_predictor.bbox_pred"]),
        ("baselines/faster_rcnn_shapes", ["iou_uniform_rois"], ["roi_heads.box_predictor.cls_score"]),
        (
            "baselines/faster_rcnn_shapes",
            ["cascade_rcnn"],
            [f"roi_heads.box_predictor.{stage}.cls_score" for stage in range(3)],
        ),
    ],
)
def test_every_structure_takes_part(config, remedies, layers):
    """The first class of the new model is the second of the old one, in each head; all else loads as it is."""
    models = []
    for k in (3, 4):
        cfg = load_config(config, remedies)
        cfg.model.num_classes = k
        models.append(instantiate(cfg.model))
    weights, got, _ = moved(*models)
    own = models[1].state_dict()
    differs = {name for name in own if got[name] is not weights[name]}
    for layer in layers:
        rows = own[f"{layer}.bias"].numel()
        each = 4 if layer.endswith("bbox_pred") else 1
        groups = models[1].anchors.per_cell if "retinanet" in config else 1
        old, new = (x[f"{layer}.bias"].view(groups, -1, each) for x in (weights, got))
        assert torch.equal(new[:, 0], old[:, 1]) and torch.equal(new[:, 2], old[:, 0]) and rows == new.numel()
        assert {f"{layer}.bias", f"{layer}.weight"} <= differs
    assert all(weights[name].shape == own[name].shape for name in own.keys() - differs)
    models[1].load_state_dict({name: value for name, value in got.items() if name in own})


def test_names_of_detectron2():
    """Its RetinaNet with the names of its classes; without them, other classes are another shape."""
    cfg = load_config("baselines/retinanet_shapes")
    cfg.model.num_classes = 4
    model = instantiate(cfg.model)
    state = {name: value for name, value in random_state(model).items() if "criterion" not in name}
    groups = model.anchors.per_cell
    for name in ("head.cls_score.weight", "head.cls_score.bias"):
        state[name] = state[name].view(groups, 4, *state[name].shape[1:])[:, :3].flatten(0, 1)
    with pytest.raises(ValueError, match="head.cls_score"):
        load_detectron2_weights(model, state)
    report = load_detectron2_weights(model, state, classes=(THEIRS, OURS))
    assert report["classes"][0] == "kept by name: 'dog', 'cat'" and not report["other_shape"]
    bias, theirs = model.head.cls_score.bias.view(groups, 4), state["head.cls_score.bias"].view(groups, 3)
    assert torch.equal(bias[:, 0], theirs[:, 1]) and torch.equal(bias[:, 2], theirs[:, 0])


def test_a_layer_that_is_not_marked_is_left_alone():
    model = nn.Linear(2, 4)
    weights = {"weight": torch.zeros(3, 2)}
    assert rows_by_name(model, weights, THEIRS, OURS)[0] == weights
