"""Records against plain loops over the COCO dict they came from."""

import dataclasses

import numpy as np
import pytest
import torch

from imbdet.data.records import Records, SubsetImages


class GrayImages:
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.full((3, 4, 4), index, dtype=torch.uint8)

    def name(self, index):
        return f"{index}.png"


@pytest.fixture
def records():
    """4 images of 100x50; image 1 is empty, image 3 holds only a crowd; category ids 7 and 9."""
    return Records(
        name="train",
        source="made by hand",
        class_names=("cat", "dog"),
        category_ids=[7, 9],
        image_ids=[10, 20, 30, 40],
        heights=[50] * 4,
        widths=[100] * 4,
        offsets=[0, 2, 2, 5, 6],
        xywh=[[1, 2, 3, 4], [90, 40, 20, 20], [0, 0, 5, 5], [-5, -5, 5, 5], [10, 10, 1, 1], [0, 0, 9, 9]],
        labels=[0, 1, 1, 0, 1, 0],
        areas=[12, 400, 25, 25, 1, 81],
        crowd=[False] * 5 + [True],
        annotation_ids=[1, 2, 3, 4, 5, 6],
        images=GrayImages(4),
    )


def test_counts(records):
    assert len(records) == 4 and records.num_classes == 2 and records.num_objects == 6
    assert records.class_counts().tolist() == [2, 3]
    assert records.image_counts().tolist() == [2, 2]  # the two dogs of image 2 are one image
    assert records.num_empty == 2


def test_target_is_xyxy_clipped_without_crowd_and_empty(records):
    first = records.target(0)
    assert first["boxes"].tolist() == [[1, 2, 4, 6], [90, 40, 100, 50]]
    assert first["boxes"].dtype == torch.float32 and first["labels"].dtype == torch.int64
    assert records.target(1)["boxes"].shape == (0, 4)
    assert records.target(2)["labels"].tolist() == [1, 1]  # the box left of and above the image is gone
    assert records.target(3)["boxes"].shape == (0, 4)


def test_target_drops_nan(records):
    xywh = records.xywh.copy()
    xywh[0, 2] = np.nan
    assert len(dataclasses.replace(records, xywh=xywh).target(0)["boxes"]) == 1


@pytest.mark.parametrize(
    "box", [[10, 10, 0, 5], [10, 10, 5, 0], [10, 10, -2, 5], [99.9999999, 0, 5, 5], [100, 0, 5, 5]]
)
def test_target_drops_what_has_no_size_on_the_image(records, box):
    """The fourth is 1e-7 pixels wide on the image, which is nothing in float32."""
    xywh = records.xywh.copy()
    xywh[0] = box
    assert dataclasses.replace(records, xywh=xywh).target(0)["labels"].tolist() == [1]


def test_subset_with_repeats_equals_the_images_one_by_one(records):
    chosen = [3, 2, 2, 0, 1]
    subset = records.subset(chosen)
    assert len(subset) == 5 and subset.image_ids.tolist() == [40, 30, 30, 10, 20]
    for i, j in enumerate(chosen):
        assert torch.equal(subset.target(i)["boxes"], records.target(j)["boxes"])
        assert torch.equal(subset.target(i)["labels"], records.target(j)["labels"])
        assert subset.images.name(i) == records.images.name(j) and int(subset.images[i][0, 0, 0]) == j
    again = subset.subset([4, 0])
    assert isinstance(again.images, SubsetImages) and not isinstance(again.images.source, SubsetImages)
    assert again.image_ids.tolist() == [20, 40] and again.images.name(1) == "3.png"
    assert len(records.subset([])) == 0


def test_subset_refuses_an_index_outside(records):
    with pytest.raises(ValueError, match="index 4 is outside 0..3"):
        records.subset([0, 4])


def test_to_coco_keeps_ids_and_exact_boxes(records):
    coco = records.to_coco()
    assert [c["id"] for c in coco["categories"]] == [7, 9]
    assert [a["image_id"] for a in coco["annotations"]] == [10, 10, 30, 30, 30, 40]
    assert [a["category_id"] for a in coco["annotations"]] == [7, 9, 9, 7, 9, 7]
    assert coco["annotations"][1] == {
        "id": 2, "image_id": 10, "category_id": 9, "bbox": [90.0, 40.0, 20.0, 20.0], "area": 400.0, "iscrowd": 0,
    }  # fmt: skip
    assert coco["images"][2] == {"id": 30, "file_name": "2.png", "height": 50, "width": 100}


@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4, 5], [1, 1, 2, 3, 4, 5]])
def test_to_coco_renumbers_ids_that_evaluators_get_wrong(records, ids):
    coco = dataclasses.replace(records, annotation_ids=ids).to_coco()
    assert [a["id"] for a in coco["annotations"]] == [1, 2, 3, 4, 5, 6]


def test_to_coco_refuses_repeated_images(records):
    with pytest.raises(ValueError, match="image id 10 occurs 2 times"):
        records.subset([0, 0, 1]).to_coco()


def test_fingerprint_sees_arrays_and_names_but_not_the_source(records):
    assert dataclasses.replace(records, source="elsewhere").fingerprint() == records.fingerprint()
    areas = records.areas.copy()
    areas[0] += 1e-9
    assert dataclasses.replace(records, areas=areas).fingerprint() != records.fingerprint()
    assert dataclasses.replace(records, class_names=("cat", "cow")).fingerprint() != records.fingerprint()
    assert len(records.fingerprint()) == 16


def test_arrays_are_read_only_and_leave_the_callers_array_alone(records):
    areas = np.ones(6)
    other = dataclasses.replace(records, areas=areas)
    with pytest.raises(ValueError):
        other.areas[0] = 2
    areas[0] = 2
