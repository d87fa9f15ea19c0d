"""Class-targeted copy-paste: neutral, by hand, a naive search, no objects, the share of rare boxes, and its control."""

import numpy as np
import pytest
import torch

from imbdet.config import instantiate, load_config
from imbdet.data.datasets.coco import records_from_coco
from imbdet.data.datasets.shapes import shapes
from imbdet.data.loader import Draw, TrainLoader
from imbdet.remedies.class_fg_fg.class_targeted_copy_paste import ClassTargetedCopyPaste, pasted_boxes
from tests.remedies.mixes import is_the_stream_without, run

AS_IT_IS = {"scale": (1, 1)}


class Pictures:
    """Given pictures as records have them."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]

    def name(self, index):
        return str(index)


def made(*rows, side=8, names="abc"):
    """Records of one grey picture a row, of value 10 * (i + 1); a row is a list of (label, [x, y, w, h])."""
    images = [{"id": i, "file_name": str(i), "width": side, "height": side} for i in range(len(rows))]
    boxes = [(i, label, box) for i, row in enumerate(rows) for label, box in row]
    annotations = [
        {"id": k + 1, "image_id": i, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for k, (i, label, box) in enumerate(boxes)
    ]
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    records = records_from_coco({"images": images, "annotations": annotations, "categories": categories}, "made", ".")
    pictures = [torch.full((3, side, side), 10 * (i + 1), dtype=torch.uint8) for i in range(len(rows))]
    object.__setattr__(records, "images", Pictures(pictures))
    return records


def built(records, **settings):
    remedy = ClassTargetedCopyPaste(**settings)
    remedy.build(records)
    return remedy


def test_neutral_is_the_stream_without():
    records = shapes(num_images=30, image_size=64)
    assert is_the_stream_without(records, ClassTargetedCopyPaste(level=0))
    assert not is_the_stream_without(records, ClassTargetedCopyPaste(level=1))


def test_boxes_to_paste_by_hand():
    """90 and 10 boxes, and level a half: t = 1/4. X = (100 / 4 - 10) / (3 / 4) = 20, and 30 of 120 is a quarter."""
    assert pasted_boxes(np.array([90.0, 10.0]), 0.5).tolist() == pytest.approx([0, 20])
    assert pasted_boxes(np.array([90.0, 10.0]), 1.0).tolist() == pytest.approx([0, 80])
    assert pasted_boxes(np.array([90.0, 10.0, 0.0]), 0.5).tolist() == pytest.approx([0, 20, 0]), "K' is 2"
    assert not pasted_boxes(np.array([50.0, 50.0]), 1.0).any() and not pasted_boxes(np.zeros(3), 1.0).any()
    assert not pasted_boxes(np.array([5.0, 0.0]), 1.0).any(), "one class alone"
    assert pasted_boxes(np.array([90.0, 10.0, 5.0]), 0.5, np.array([1, 1, 0]) > 0)[2] == 0


@pytest.mark.parametrize("level", [0.3, 0.5, 0.9])
def test_a_naive_search(level):
    """Adding half a box at a time to whatever class is below its share ends at the same numbers."""
    counts = np.array([500.0, 120, 60, 45, 8, 0])
    found, now = pasted_boxes(counts, level), counts.copy()
    for _ in range(20_000):
        shares = np.where(counts > 0, now / now.sum(), 1)
        if shares.min() >= level / 5:
            break
        now[shares.argmin()] += 0.5
    assert found == pytest.approx(now - counts, abs=1)
    after = counts + found
    assert (after[:5] / after.sum()).min() == pytest.approx(max(level / 5, (counts[:5] / counts.sum()).min()))


def test_by_hand_where_it_goes_and_what_it_brings():
    """One rare object of 2 x 2 in the second picture, alone in its rectangle; it goes where it covers nothing."""
    records = made([(0, [0, 0, 8, 4])], [(0, [5, 5, 3, 3]), (1, [1, 2, 2, 2])], *[[(0, [1, 1, 4, 4])]] * 7)
    remedy = built(records, level=1.0, tries=50, **AS_IT_IS)
    assert remedy.rate == pytest.approx(8 / 9) and remedy.objects[1].tolist() == [[1, 1]]
    image, target = records.images[0], records.target(0)
    for seed in range(30):
        found, seen = remedy(image, target, Draw(records, 0), np.random.default_rng(seed))
        if len(seen["boxes"]) == 1:
            assert torch.equal(found, image)
            continue
        assert seen["labels"].tolist() == [0, 1] and seen["boxes"][0].tolist() == [0, 0, 8, 4]
        x1, y1, x2, y2 = seen["boxes"][1].int().tolist()
        assert (x2 - x1, y2 - y1) == (2, 2) and y1 >= 4 and (found[:, y1:y2, x1:x2] == 20).all()
        assert (found == 20).sum() == 12


def test_rectangles_that_show_another_object_are_not_taken_unless_there_is_no_other():
    crowded = [(1, [0, 0, 4, 4]), (0, [2, 2, 2, 2])]
    records = made([(0, [0, 0, 2, 2])] * 9, crowded, [(1, [1, 1, 3, 3])])
    assert built(records, level=1.0).objects[1].tolist() == [[2, 0]]
    records = made([(0, [0, 0, 2, 2])] * 9, crowded)
    remedy = built(records, level=1.0, **AS_IT_IS)
    assert remedy.objects[1].tolist() == [[1, 0]]
    empty = torch.zeros(3, 8, 8, dtype=torch.uint8), {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    _, target = run(remedy, empty, *[(records.images[i], records.target(i)) for i in range(2)])
    assert target["labels"].tolist()[:2] == [1, 0], "what shows comes along, with its box"


def test_an_object_larger_than_the_picture_is_made_to_fit():
    records = made([(0, [0, 0, 2, 2])] * 9, [(1, [0, 0, 8, 8])])
    remedy = built(records, level=1.0, scale=(3, 3))
    small = torch.zeros(3, 4, 6, dtype=torch.uint8), {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    image, target = remedy(*small, Draw(records, 0), np.random.default_rng(0))
    assert image.shape == (3, 4, 6) and (target["boxes"][-1, 2:] - target["boxes"][-1, :2]).tolist() == [4, 4]


@pytest.mark.parametrize("rows", [[[], []], [[(0, [0, 0, 2, 2])], []], [[(0, [0, 0, 2, 2]), (1, [4, 4, 2, 2])], []]])
def test_nothing_to_do(rows):
    """No objects at all, one class, and classes that are equal already; the third class has no boxes in any."""
    records = made(*rows)
    remedy = built(records, level=1.0)
    assert remedy.rate == 0 and is_the_stream_without(records, ClassTargetedCopyPaste(level=1.0))
    assert "0 objects are pasted into a picture" in remedy.describe()


@pytest.mark.filterwarnings("ignore:.*outside")
def test_a_class_whose_boxes_lie_outside_of_the_picture_is_left_out():
    records = made([(0, [0, 0, 2, 2])] * 9, [(1, [9, 9, 2, 2]), (2, [3, 3, 2, 2])])
    remedy = built(records, level=1.0)
    assert list(remedy.objects) == [2] and remedy.pasted[1] == 0 and remedy.pasted[2] > 0


def test_bad_settings():
    for bad in ({"level": 1.1}, {"least": -1}, {"scale": (0, 1)}, {"tries": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ClassTargetedCopyPaste(**bad)


@pytest.fixture(scope="module")
def records():
    return shapes(num_images=200, image_size=64)


def counted_labels(records, remedy, epochs=3):
    """Boxes of each class in some epochs, and in as many without."""
    loader = TrainLoader(records, 200, num_workers=0, aspect_ratio_grouping=False, mix=remedy, cache_bytes=2**23)
    iterator = loader.iterate()
    found = sum(np.bincount(torch.cat([t["labels"] for t in next(iterator)[1]]), minlength=10) for _ in range(epochs))
    return found / epochs, records.class_counts()


def test_mechanism_each_class_reaches_its_share(records):
    """Before, four classes of ten are below 5 % of the boxes, the rarest at 0.7 %; with level 0.5 none is."""
    remedy = ClassTargetedCopyPaste(level=0.5)
    found, before = counted_labels(records, remedy)
    rare = before / before.sum() < 0.05
    assert rare.sum() == 4 and before.min() / before.sum() < 0.01
    assert (found / found.sum())[rare] == pytest.approx(np.full(4, 0.05), abs=0.012)
    assert found[~rare] == pytest.approx(before[~rare], rel=0.1), "frequent classes get no more, and lose few"
    before, after = remedy.change.ratios
    assert f"most to least frequent class {before:.3g} -> {after:.3g}" in remedy.describe() and after < before / 5


def test_the_seam_control_pastes_as_much_background(records):
    cfg = load_config("baselines/faster_rcnn_shapes", ["class_targeted_copy_paste", "controls/seam"])
    control = instantiate(cfg.dataloader.train.mix)
    assert control.background
    found, before = counted_labels(records, control, epochs=1)
    assert (found <= before).all() and found.sum() > 0.9 * before.sum()
    areas = []
    for background in (False, True):
        remedy, changed = built(records, background=background), 0
        for i in range(60):
            image, target = records.images[i], records.target(i)
            image = torch.full_like(image, 255)  # nothing in the data is white
            changed += int(
                (remedy(image, target, Draw(records, i), np.random.default_rng(i))[0] != 255).any(dim=0).sum()
            )
        areas.append(changed)
    assert areas[1] == pytest.approx(areas[0], rel=0.4)
