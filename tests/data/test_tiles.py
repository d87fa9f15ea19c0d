"""Tiles: where they lie, what a loader gives of them, and what is found on them, put together."""

import numpy as np
import pytest
import torch
from torch import nn

from imbdet import testing
from imbdet.config import apply_overrides, instantiate, load_config
from imbdet.data.augment import ResizeShortestEdge, cut
from imbdet.data.loader import EvalLoader
from imbdet.data.tiles import Tiles
from imbdet.engine.validation import targets_of
from imbdet.evaluation.inference import predict
from imbdet.evaluation.pictures import predict_picture


@pytest.mark.parametrize(("height", "width"), [(100, 100), (97, 301), (512, 513), (1, 2000), (3000, 4000)])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("size", [64, 0.5, 0.6, 1.0])
def test_the_grid_covers_the_picture_and_overlaps_by_enough(height, width, overlap, size):
    windows = Tiles(size, overlap, whole=False).windows(height, width)
    for sides, length in ((windows[:, [0, 2]], width), (windows[:, [1, 3]], height)):
        starts, ends = np.unique(sides[:, 0]), np.unique(sides[:, 1])
        side = ends[0] - starts[0]
        assert starts[0] == 0 and ends[-1] == length and (ends - starts == side).all()
        assert side == min(length, size if size > 1 else max(round(size * length), 1))
        assert (ends[:-1] - starts[1:] >= overlap * side - 1).all(), "less overlap than asked for, and no rounding"


def test_windows_by_hand():
    """4 x 4 in tiles of 2 that meet; the whole comes first, and once where it is all that there is."""
    assert Tiles(2, 0.0).windows(4, 4).tolist() == [
        [0, 0, 4, 4],
        [0, 0, 2, 2],
        [2, 0, 4, 2],
        [0, 2, 2, 4],
        [2, 2, 4, 4],
    ]
    assert Tiles(4).windows(4, 4).tolist() == [[0, 0, 4, 4]]
    assert Tiles(0.6, whole=False).windows(10, 10).tolist() == [
        [0, 0, 6, 6],
        [4, 0, 10, 6],
        [0, 4, 6, 10],
        [4, 4, 10, 10],
    ]
    for bad in ({"size": 0}, {"size": float("nan")}, {"overlap": 1.0}, {"overlap": -0.1}):
        with pytest.raises(ValueError, match="above 0"):
            Tiles(**bad)


def test_what_a_cut_leaves_of_the_objects():
    """Window [2, 6) x [0, 4). A half and a tenth of the area stay, less than a tenth does not, beside it nothing."""
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 2.5, 1], [1, 0, 2.05, 1], [6, 0, 9, 4], [3, 1, 5, 3]])
    found = cut({"boxes": boxes, "labels": torch.arange(5), "image_id": 7}, 2, 0, 6, 4, least=0.1)
    assert found["boxes"].tolist() == [[0, 0, 2, 4], [0, 0, 0.5, 1], [1, 1, 3, 3]]
    assert found["labels"].tolist() == [0, 1, 4] and found["image_id"] == 7
    assert len(cut({"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}, 0, 0, 2, 2)["boxes"]) == 0


class Corners(nn.Module):
    """Finds the bright pixels of a picture: a box of one pixel each, its score the brightness, its label the color."""

    nms_threshold, max_detections = 0.5, 100

    def forward(self, images):
        found = []
        for image in images:
            label, y, x = torch.nonzero(image > 100, as_tuple=True)
            boxes = torch.stack((x, y, x + 1, y + 1), dim=1).float()
            scores = image[label, y, x].float() / 255
            order = torch.argsort(scores, descending=True, stable=True)
            found.append({"boxes": boxes[order], "scores": scores[order], "labels": label[order]})
        return found


@pytest.fixture(scope="module")
def records():
    return instantiate(load_config("baselines/faster_rcnn_shapes", [], ["data.val.num_images=5"]).data.val)


@pytest.fixture
def double():
    return ResizeShortestEdge(256)


def columns(found):
    return {name: getattr(found, name) for name in ("image_id", "label", "score", "xywh")}


def same(a, b):
    return all(np.array_equal(columns(a)[name], columns(b)[name]) for name in columns(a))


@pytest.mark.parametrize("workers", [0, 2])
def test_one_tile_that_covers_everything_is_no_tiling(records, workers, double):
    model = testing.tiny_detector().eval()
    model.score_threshold = 0.0
    want = predict(model, EvalLoader(records, double, 2, 0))
    assert len(want) and same(want, predict(model, EvalLoader(records, double, 2, workers, tiles=Tiles(1.0))))
    image = records.images[0]
    one, none = (predict_picture(model, image, double, 0.0, tiles) for tiles in (Tiles(200), None))
    assert all(torch.equal(one[name], none[name]) for name in none) and len(none["scores"])


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_by_hand_every_pixel_is_found_once_in_its_place(records, batch_size):
    """Tiles of 5 of 8 pixels; the last bright pixel lies in the overlap of four, the first in one."""
    images = [torch.zeros(3, 8, 8, dtype=torch.uint8) for _ in range(5)]
    images[1][0, 1, 6] = 200
    images[4][2, 4, 3] = 255
    small = Given(images)
    found = predict(
        Corners(), EvalLoader(small, lambda image, *_: (image, {}), batch_size, 0, tiles=Tiles(5, whole=False))
    )
    assert found.image_id.tolist() == [small.image_ids[1], small.image_ids[4]]
    assert found.xywh.tolist() == [[6, 1, 1, 1], [3, 4, 1, 1]] and found.label.tolist() == [0, 2]
    one = predict_picture(Corners(), images[4], lambda image, *_: (image, {}), 0.5, Tiles(5))
    assert one["boxes"].tolist() == [[3, 4, 4, 5]] and one["labels"].tolist() == [2]
    assert not len(predict_picture(Corners(), images[0], None, 0.5, Tiles(5))["scores"])


class Given:
    """Records of given pictures of one size."""

    def __init__(self, images):
        self.images, self.name, self.source, self.class_names = images, "given", "given", ("a", "b", "c")
        self.image_ids = np.arange(11, 11 + len(images))
        self.heights = np.array([image.shape[1] for image in images])
        self.widths = np.array([image.shape[2] for image in images])

    def __len__(self):
        return len(self.images)


def naive(model, image, tiles, resize):
    """Every tile by itself; then greedily the best box, without those of its class that overlap it by more."""
    rows = []
    for x1, y1, x2, y2 in tiles.windows(*image.shape[1:]).tolist():
        part = resize(image[:, y1:y2, x1:x2], {}, None)[0]
        scale_x, scale_y = (x2 - x1) / part.shape[2], (y2 - y1) / part.shape[1]
        with torch.no_grad():
            found = model([part])[0]
        for box, score, label in zip(*(found[k].tolist() for k in ("boxes", "scores", "labels")), strict=True):
            left, top, right, bottom = box
            rows.append(
                (score, label, [left * scale_x + x1, top * scale_y + y1, right * scale_x + x1, bottom * scale_y + y1])
            )
    kept = []
    for score, label, a in sorted(rows, key=lambda row: -row[0]):
        if len(kept) == model.max_detections:
            break
        for _, other, b in kept:
            inter = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
            if label == other and inter > model.nms_threshold * union:
                break
        else:
            kept.append((score, label, a))
    return kept


def test_a_naive_loop(records, double):
    model, tiles = testing.tiny_detector(seed=3).eval(), Tiles(0.6)
    model.score_threshold, model.max_detections = 0.0, 40
    found = predict(model, EvalLoader(records, double, 4, 0, tiles=tiles))
    assert len(found) == 40 * len(records)
    for i, image_id in enumerate(records.image_ids):
        want, mine = naive(model, records.images[i], tiles, double), found.image_id == image_id
        one = predict_picture(model, records.images[i], double, 0.0, tiles)
        for got in (found.score[mine], one["scores"].numpy()):
            assert np.allclose(got, [row[0] for row in want], atol=1e-6)
        xyxy = np.hstack((found.xywh[mine][:, :2], found.xywh[mine][:, :2] + found.xywh[mine][:, 2:]))
        for got in (xyxy, one["boxes"].numpy()):
            assert np.allclose(got, [row[2] for row in want], atol=1e-3)


def test_loader_of_tiles(records, double):
    """Five tiles of each picture; the objects of a tile lie in it; two processes share the pictures."""
    loader = EvalLoader(records, double, 4, 0, tiles=Tiles(0.6))
    batches = list(loader)
    assert len(batches) == len(loader) == 7 and [len(images) for images, _ in batches] == [4] * 5 + [4, 1]
    for images, infos in batches:
        assert all(min(image.shape[1:]) == 256 for image in images)
        for image, info, target in zip(images, infos, targets_of(records, infos, images), strict=True):
            x1, y1, x2, y2 = info["window"]
            assert (info["height"], info["width"]) == (y2 - y1, x2 - x1)
            assert (target["boxes"] <= torch.tensor([image.shape[2], image.shape[1]] * 2)).all()
    ids = [{info["image_id"] for _, infos in loader.iterate(rank, 2) for info in infos} for rank in (0, 1)]
    assert ids[0] | ids[1] == set(records.image_ids.tolist()) and not ids[0] & ids[1]


def test_without_a_resize_a_tile_has_the_size_of_its_picture(records):
    images, infos = next(iter(EvalLoader(records, None, 5, 0, tiles=Tiles(0.6))))
    assert all(image.shape == records.images[0].shape for image in images)
    assert torch.equal(images[0], records.images[0]) and infos[0]["window"] == (0, 0, 128, 128)


def test_a_config_names_tiles():
    cfg = load_config("baselines/faster_rcnn_shapes", [], ["data.val.num_images=2"])
    apply_overrides(cfg, ["dataloader.val.tiles={_target_: imbdet.data.tiles.Tiles, size: 0.6}"])
    assert len(instantiate(cfg.dataloader.val)) == 1 and instantiate(cfg.dataloader.val).tiles.size == 0.6
