"""Running a detector over a split, with a detector and loaders whose answers are known."""

import numpy as np
import pytest
import torch
from torch import nn

from imbdet.data.loader import ShardedLoader
from imbdet.evaluation.inference import original_boxes, predict


class Fake(nn.Module):
    """Finds one box per image, from (1, 2) to the middle; the class is the value of the first pixel, the score too."""

    def __init__(self, **changes):
        super().__init__()
        self.frozen, self.changes, self.calls = nn.BatchNorm2d(1), changes, []
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images):
        self.calls.append((self.training, self.frozen.training, torch.is_grad_enabled(), len(images)))
        outputs = []
        for image in images:
            height, width = image.shape[1:]
            value = int(image[0, 0, 0])
            output = {
                "boxes": torch.tensor([[1.0, 2.0, width / 2, height / 2]]) * self.weight,
                "scores": torch.tensor([1 / (1 + value)]),
                "labels": torch.tensor([value]),
            }
            outputs.append({**output, **{k: v for k, v in self.changes.items()}})
        return outputs


def picture(value, height, width):
    return torch.full((3, height, width), value, dtype=torch.uint8)


LOADER = [  # network sizes are half, equal, and (2, 4) times the original
    (
        [picture(0, 30, 40), picture(1, 50, 20)],
        [dict(image_id=7, height=60, width=80), dict(image_id=3, height=50, width=20)],
    ),
    ([picture(2, 20, 80)], [dict(image_id=5, height=10, width=20)]),
]


def test_boxes_in_pixels_of_the_original_picture_by_image_id():
    found = predict(Fake(), LOADER, progress=False)
    assert found.image_id.tolist() == [3, 5, 7]
    assert found.label.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(
        found.xywh,
        [
            [1, 2, 20 / 2 - 1, 50 / 2 - 2],
            [1 / 4, 2 / 2, 20 / 2 - 1 / 4, 10 / 2 - 2 / 2],
            [1 * 2, 2 * 2, 80 / 2 - 2, 60 / 2 - 4],
        ],
    )
    np.testing.assert_allclose(found.score, [1 / 2, 1 / 3, 1], rtol=1e-7)


def test_modes_are_restored_module_by_module():
    model = Fake().train()
    model.frozen.eval()
    predict(model, LOADER, progress=False)
    assert [(training, frozen, grad) for training, frozen, grad, _ in model.calls] == [(False, False, False)] * 2
    assert model.training and not model.frozen.training
    with pytest.raises(ZeroDivisionError):
        predict(model, (1 / 0 for _ in range(1)), progress=False)
    assert model.training and not model.frozen.training


def test_what_is_cached_can_be_trained_with():
    """Anchors made during evaluation are used by the next training step; inference tensors would stop it."""
    model, kept = Fake(), []
    model.register_forward_pre_hook(lambda module, args: kept.append(torch.ones(2)))
    predict(model, LOADER, progress=False)
    weight = torch.ones(2, requires_grad=True)
    (weight * kept[0]).sum().backward()
    assert weight.grad.tolist() == [1, 1]


def test_boxes_are_clipped_and_empty_ones_dropped():
    boxes = torch.tensor([[-5.0, -5.0, 900.0, 9.0], [50.0, 5.0, 60.0, 9.0], [3.0, 3.0, 3.0, 8.0]])
    model = Fake(boxes=boxes, scores=torch.tensor([0.9, 0.8, 0.7]), labels=torch.zeros(3, dtype=torch.long))
    found = predict(model, [([picture(0, 10, 40)], [dict(image_id=1, height=10, width=40)])], progress=False)
    assert found.xywh.tolist() == [[0, 0, 40, 9]]


def test_no_detection_and_half_precision():
    empty = dict(boxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0, dtype=torch.long))
    assert len(predict(Fake(**empty), LOADER, progress=False)) == 0
    assert len(predict(Fake(), [], progress=False)) == 0
    half = Fake(scores=torch.tensor([0.5], dtype=torch.bfloat16))
    assert predict(half, LOADER, progress=False).score.tolist() == [0.5] * 3


@pytest.mark.parametrize("bad", ({"scores": torch.tensor([float("nan")])}, {"boxes": torch.full((1, 4), torch.inf)}))
def test_a_model_gone_mad_is_named_with_the_image(bad):
    with pytest.raises(ValueError, match="not finite for image id 7"):
        predict(Fake(**bad), LOADER, progress=False)


def test_original_boxes_by_hand():
    boxes = original_boxes(torch.tensor([[10.0, 20.0, 30.0, 400.0]]), network=(100, 50), original=(300, 100))
    assert boxes.tolist() == [[20.0, 60.0, 60.0, 300.0]] and boxes.dtype == torch.float64


class Gloo:
    """One of two processes, in which the other one's answer is known in advance."""

    def __init__(self, monkeypatch, rank, others=None):
        self.sent = None
        for name, value in (("get_rank", rank), ("get_world_size", 2)):
            monkeypatch.setattr(torch.distributed, name, lambda value=value: value)

        def gather(output, value):
            self.sent = value
            output[rank], output[1 - rank] = value, others if others is not None else value

        monkeypatch.setattr(torch.distributed, "all_gather_object", gather)


def test_shared_among_two_processes_each_image_once(monkeypatch):
    alone = predict(Fake(), LOADER, progress=False)
    second = Gloo(monkeypatch, rank=1)
    model = Fake()
    predict(model, LOADER, progress=False, shared=True)
    assert sum(calls[-1] for calls in model.calls) == 1  # the image with id 3
    Gloo(monkeypatch, rank=0, others=second.sent)
    both = predict(Fake(), LOADER, progress=False, shared=True)
    for name in ("image_id", "label", "score", "xywh"):
        np.testing.assert_array_equal(getattr(both, name), getattr(alone, name))


def test_an_image_that_two_processes_saw_counts_once(monkeypatch):
    Gloo(monkeypatch, rank=0)  # the other process says the same
    loader = type("Padded", (ShardedLoader,), {"iterate": lambda self, rank, world_size: iter(LOADER)})()
    assert predict(Fake(), loader, progress=False, shared=True).image_id.tolist() == [3, 5, 7]


def test_a_real_loader_brings_the_class_names(tiny_coco):
    from imbdet.data.augment import ResizeShortestEdge
    from imbdet.data.datasets.folder import coco_folder
    from imbdet.data.loader import EvalLoader

    records = coco_folder(root=str(tiny_coco), split="val")
    model = Fake(labels=torch.tensor([0]))
    found = predict(model, EvalLoader(records, ResizeShortestEdge(40, 60), 2, num_workers=0), progress=False)
    assert found.class_names == records.class_names
    assert sorted(found.image_id.tolist()) == sorted(records.image_ids.tolist())
    for image_id, box in zip(found.image_id, found.xywh, strict=True):
        place = records.image_ids.tolist().index(image_id)
        corner = box[:2] + box[2:]
        np.testing.assert_allclose(corner, [records.widths[place] / 2, records.heights[place] / 2], rtol=1e-6)
