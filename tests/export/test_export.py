"""Exported detectors: the steps with fixed limits equal ours, what cannot be exported is refused, a file tells its
classes, and differences are seen.
"""

import json

import pytest
import torch

from imbdet.config import instantiate
from imbdet.engine.trained import Predictor
from imbdet.export import compare, export, open_exported
from imbdet.export.parts import _Pooler, exportable, suppress, top
from imbdet.modeling.detectors import FasterRCNN
from imbdet.modeling.nms import suppress as ours
from imbdet.modeling.roi_pool import MultiLevelRoIAlign
from imbdet.testing import batch, random_boxes, tiny_config

SIZES = ((128, 128), (60, 97), (131, 70), (5, 9))


def detector(name="faster_rcnn", remedies=(), overrides=()):
    """A tiny detector whose weights are spread, so that scores and boxes of regions differ."""
    torch.manual_seed(3)
    cfg = tiny_config(name, list(remedies), list(overrides))
    model = instantiate(cfg.model).eval()
    for key, value in model.named_parameters():
        if "cls_score.weight" in key or "bbox_pred.weight" in key or "objectness" in key:
            torch.nn.init.normal_(value, std=0.1)
    names = tuple(f"class {i}" for i in range(model.num_classes))
    return Predictor(model, names, tuple(range(1, 11)), None, cfg, None)


def pictures():
    return [image[:, :h, :w].contiguous() for image, (h, w) in zip(batch(3, 2, 1, 0, size=140)[0], SIZES, strict=True)]


@pytest.mark.parametrize("name", ["faster_rcnn", "retinanet"])
def test_fixed_limits_equal_ours(name):
    model = detector(name).model
    seen = compare(model, exportable(model), pictures())
    assert seen.equal and seen.detections > 100 and seen.box < 1e-3 and seen.score < 1e-5


def test_few_detections_are_padded_at_the_end():
    model = detector(overrides=["model.score_threshold=0.35"]).model
    found = model([pictures()[0]])[0]["scores"]
    boxes, scores, labels = exportable(model)(pictures()[0])
    n = len(found)
    assert 0 < n < 100 and torch.allclose(scores[:n], found, atol=1e-5)
    assert (labels[:n] >= 0).all() and (labels[n:] == -1).all() and not scores[n:].any() and not boxes[n:].any()


def test_pooling_at_four_levels_equals_ours():
    pool = MultiLevelRoIAlign(size=3, canonical_size=32)
    pool.build({"p2": 4, "p3": 8, "p4": 16, "p5": 32})
    maps = {f"p{i}": torch.rand(1, 2, 128 >> i, 128 >> i) for i in range(2, 6)}
    boxes = torch.cat((random_boxes(20), torch.tensor([[0.0, 0, 128, 128], [4, 4, 4, 4]])))
    expected = pool(maps, boxes, torch.zeros(22))
    assert len(pool.assign(boxes).unique()) > 2
    assert torch.allclose(_Pooler.forward(pool, maps, boxes, torch.zeros(22)), expected, atol=1e-6)


def test_suppression_within_groups_equals_ours():
    boxes, scores = random_boxes(200, size=40).unsqueeze(0), torch.rand(1, 200)
    groups, valid = torch.arange(200).remainder(3).unsqueeze(0), torch.rand(1, 200) > 0.3
    found = suppress(boxes, scores, groups, valid, 0.5)
    assert torch.equal(found, ours(boxes, scores, groups, valid, 0.5)) and found.any() and not found[~valid].any()


def test_top_of_fewer_than_asked():
    values, index = top(torch.tensor([[0.1, 0.3]]), 4)
    assert (
        values[0, :2].tolist() == pytest.approx([0.3, 0.1])
        and index.tolist() == [[1, 0, 0, 0]]
        and (values[0, 2:] < 0).all()
    )


def test_a_detector_with_its_own_way_is_refused():
    class Mine(FasterRCNN):
        def detect(self, *args):
            return super().detect(*args)

    model = detector().model
    model.__class__ = Mine
    with pytest.raises(ValueError, match="Mine cannot be exported: it has its own detect"):
        exportable(model)
    with pytest.raises(ValueError, match="a Linear is not a detector"):
        exportable(torch.nn.Linear(1, 1))


def test_a_different_detector_is_seen():
    model = detector().model
    fixed = exportable(model)

    def moved(image):
        boxes, scores, labels = fixed(image)
        return boxes + 0.2, scores, labels

    seen = compare(model, moved, pictures()[:1])
    assert not seen.equal and seen.alone > 10


def test_unknown_format():
    with pytest.raises(ValueError, match="unknown format 'tflite'"):
        export(detector(), "tflite", "x")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torchscript", "torch_export"])
@pytest.mark.parametrize(
    ("name", "remedies"), [("faster_rcnn", []), ("retinanet", []), ("faster_rcnn", ["cascade_rcnn"])], ids=str
)
def test_files_find_the_same_and_tell_their_classes(tmp_path, form, name, remedies):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    found = detector(name, remedies)
    path = tmp_path / {"onnx": "a.onnx", "torchscript": "a.torchscript", "torch_export": "a.pt2"}[form]
    about = export(found, form, path)
    call, told = open_exported(path)
    assert told == json.loads(json.dumps(about)) and told["class_names"] == list(found.class_names)
    seen = compare(found.model, call, pictures())
    assert seen.equal and seen.detections > 100 and seen.box < 0.01
